"""All kinds, by family."""
from . import addresses, bodies, bombs, credentials, encodings, formats, heads, http2, lies, names, redirects, robots, slow, statuses, tls, urls, wishes  # noqa: F401
