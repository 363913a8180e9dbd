"""Raw HTTP/1 answers."""


def head(*headers, status="200 OK", version="HTTP/1.1"):
    """A head with the given header lines (text or bytes)."""
    lines = [f"{version} {status}".encode("utf-8"), *(h if isinstance(h, bytes) else h.encode("utf-8") for h in headers)]
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def answer(body, *headers, status="200 OK", version="HTTP/1.1", kind="image/jpeg"):
    """A sound answer with a Content-Length."""
    own = [f"Content-Length: {len(body)}"]
    if kind:
        own.append(f"Content-Type: {kind}")
    return Keep(head(*own, *headers, status=status, version=version) + body)


def redirect(to, status="302 Found", *headers):
    """An answer that leads elsewhere."""
    to = to if isinstance(to, bytes) else to.encode("utf-8")
    return Keep(head(b"Location: " + to, "Content-Length: 0", *headers, status=status))


def chunks(body, size=1000, extension=b"", newline=b"\r\n", number="{:x}", trailer=b"", last=True):
    """The body in chunks."""
    out = []
    for at in range(0, len(body), size):
        piece = body[at:at + size]
        out.append(number.format(len(piece)).encode() + extension + newline + piece + newline)
    if last:
        out.append(b"0" + newline + trailer + newline)
    return b"".join(out)


def chunked(body, *headers, **options):
    """A sound chunked answer."""
    return Keep(head("Transfer-Encoding: chunked", "Content-Type: image/jpeg", *headers) + chunks(body, **options))


class Keep(bytes):
    """Bytes after which the connection stays open."""
