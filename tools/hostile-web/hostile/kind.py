"""Kinds of hostility: their rows, the pages that serve them, the names that lead there, and the truth of each row."""
import hashlib
from dataclasses import dataclass, field
from typing import Callable

from . import pictures

DOMAIN = "photoweb.net"
ANY = "*"       # the target of a page that answers all requests to its host
SERVER = "93.184.10.1"
SERVER_V6 = "2606:2800:220:1::10"

# How a row may end in the end. The classes are laioncele's drop reasons.
BROKEN = ("connect", "bad_response")


@dataclass
class Truth:
    """What is right for a row: the photo with this hash, or one of the drop classes; both where it is a matter of taste."""
    sha256: str | None = None
    classes: tuple[str, ...] = ()


@dataclass
class Row:
    """One url of the metadata."""
    kind: "Kind"
    number: int
    url: str = ""
    truth: Truth = field(default_factory=Truth)
    host: str = ""

    def __post_init__(self):
        label = self.kind.name.replace("/", "-").replace("_", "-")
        own = "" if self.kind.one_host else f"-{self.number}"
        self.host = f"{label}{own}.{DOMAIN}"
        self.target = f"/{self.number}.jpg"
        self.url = self.at()

    @property
    def key(self):
        return f"{self.kind.name}#{self.number}"

    def at(self, target=None, host=None, scheme=None):
        """A url of this row's host."""
        return f"{scheme or self.kind.scheme}://{host or self.host}{self.target if target is None else target}"

    def jpeg(self):
        """A JPEG that no other row has."""
        return pictures.unique_jpeg(self.key)

    def photo(self, body=None):
        """The row must end as this photo. Returns its bytes."""
        body = self.jpeg() if body is None else body
        self.truth = Truth(hashlib.sha256(body).hexdigest(), self.truth.classes)
        return body

    def drop(self, *classes):
        """The row must end as one of these classes; after `photo`, it may."""
        self.truth = Truth(self.truth.sha256, tuple(classes))

    def page(self, answer, target=None, host=None):
        """What the server answers to a request for `target` at `host`: bytes or a handler."""
        key = (host or self.host).lower(), self.target if target is None else target
        assert key not in WEB.pages, f"{self.key}: {key} is a page of another row"
        WEB.pages[key] = answer

    def other_host(self, word="other"):
        """A second host of this row."""
        return f"{word}-{self.host}"


@dataclass
class Kind:
    name: str
    rows: int
    make: Callable[[Row], None]
    one_host: bool
    scheme: str


@dataclass
class Web:
    """All that the servers need to know of the kinds."""
    pages: dict = field(default_factory=dict)
    names: dict = field(default_factory=dict)           # name -> function(question type, visit) -> Reply
    connections: dict = field(default_factory=dict)     # (address, port) -> handler of raw connections
    certificates: dict = field(default_factory=dict)    # host -> name of a certificate
    http2: dict = field(default_factory=dict)           # host -> handler of HTTP/2 connections
    hosts_file: dict = field(default_factory=dict)      # name -> address
    notes: list = field(default_factory=list)           # what servers found wrong: (kind of fault, text)


WEB = Web()
KINDS: dict[str, Kind] = {}


def kind(name, rows=7, one_host=False, scheme="http"):
    """Registers a kind: the decorated function sets up one row."""
    def register(make: Callable[[Row], None]):
        assert name not in KINDS, name
        KINDS[name] = Kind(name, rows, make, one_host, scheme)
        return make
    return register


def rows_of(kinds):
    """All rows of the kinds, their pages and names set up."""
    made = []
    for one in kinds:
        for number in range(one.rows):
            row = Row(one, number)
            one.make(row)
            assert row.truth.sha256 or row.truth.classes, f"{row.key} has no truth"
            made.append(row)
    return made

