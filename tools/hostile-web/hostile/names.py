"""The name server: UDP and TCP on one address, each name with a behaviour of its own."""
import asyncio
import ctypes
import ipaddress
import multiprocessing
import signal
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field

from .kind import DOMAIN, SERVER, WEB

ADDRESS = "93.184.0.53"
A, CNAME, SOA, AAAA = 1, 5, 6, 28
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
PR_SET_PDEATHSIG = 1


@dataclass
class Reply:
    """What a question gets. `silent`: nothing; `raw`: these bytes after the id instead of a message."""
    addresses: list = field(default_factory=list)
    cname: str | None = None
    code: int = NOERROR
    ttl: int = 60
    silent: bool = False
    truncated: bool = False
    raw: bytes | None = None
    wrong_id: bool = False
    delay: float = 0.0


def fixed(*addresses, **options):
    """A name with these addresses."""
    return lambda kind, visit, tcp: Reply(list(addresses), **options)


def alias(name, **options):
    return lambda kind, visit, tcp: Reply(cname=name, **options)


def fails(code):
    return lambda kind, visit, tcp: Reply(code=code)


def encode_name(name):
    out = b""
    for label in name.rstrip(".").split("."):
        raw = label.encode("latin-1", "replace")
        out += bytes([len(raw)]) + raw
    return out + b"\0"


def decode_question(data):
    """The name in lower case, the type, and the bytes of the question."""
    at, labels = 12, []
    while data[at]:
        length = data[at]
        labels.append(data[at + 1:at + 1 + length].decode("latin-1"))
        at += 1 + length
    kind, = struct.unpack(">H", data[at + 1:at + 3])
    return ".".join(labels).lower(), kind, data[12:at + 5]


class NameServer:
    """A process of its own, so that busy web servers do not make it slow."""

    def __init__(self):
        self.asked = Counter()
        self.questions = multiprocessing.Value("L", 0)

    def start(self):
        multiprocessing.get_context("fork").Process(target=self.run, daemon=True).start()

    def run(self):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

        async def serve():
            await self.listen()
            await asyncio.Event().wait()
        asyncio.run(serve())

    def reply(self, name, kind, tcp):
        """The behaviour of a name: its own, else the one of the whole domain."""
        visit = self.asked[name, kind] = self.asked[name, kind] + 1
        self.questions.value += 1
        behaviour = WEB.names.get(name)
        if behaviour is None:
            if name == DOMAIN or name.endswith("." + DOMAIN):
                return Reply([SERVER])
            return Reply(code=NXDOMAIN)
        return behaviour(kind, visit, tcp)

    def answer(self, data, tcp):
        """The bytes of the answer or None, and how long it waits."""
        name, kind, question = decode_question(data)
        reply = self.reply(name, kind, tcp)
        if reply.silent:
            return None, 0
        if reply.raw is not None:
            return data[:2] + reply.raw, reply.delay
        ident = bytes([data[0] ^ 0x55, data[1]]) if reply.wrong_id else data[:2]
        records = [] if reply.truncated and not tcp else self.records(reply, kind, tcp)
        flags = 0x8400 | 0x0080 | reply.code | (0x0200 if reply.truncated and not tcp else 0) | (data[2] & 1) << 8
        head = ident + struct.pack(">HHHHH", flags, 1, len(records), 0, 0)
        return head + question + b"".join(records), reply.delay

    def records(self, reply, kind, tcp):
        """The records of a reply, those of its aliases after them, as resolvers send them."""
        owner, out, seen = b"\xc0\x0c", [], set()
        while reply.cname and reply.cname not in seen and len(seen) < 40:
            seen.add(reply.cname)
            target = encode_name(reply.cname)
            out.append(owner + struct.pack(">HHIH", CNAME, 1, reply.ttl, len(target)) + target)
            owner, reply = target, self.reply(reply.cname, kind, tcp)
        for text in reply.addresses:
            packed = ipaddress.ip_address(text).packed
            if (A if len(packed) == 4 else AAAA) == kind:
                out.append(owner + struct.pack(">HHIH", kind, 1, reply.ttl, len(packed)) + packed)
        return out

    async def listen(self):
        loop = asyncio.get_running_loop()
        server = self

        class Datagrams(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def datagram_received(self, data, peer):
                answer, delay = server.answer(data, tcp=False)
                if answer is not None:
                    loop.call_later(delay, self.transport.sendto, answer, peer)

        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        udp.bind((ADDRESS, 53))
        await loop.create_datagram_endpoint(Datagrams, sock=udp)
        await asyncio.start_server(self.stream, ADDRESS, 53)

    async def stream(self, reader, writer):
        try:
            while True:
                length, = struct.unpack(">H", await reader.readexactly(2))
                answer, delay = self.answer(await reader.readexactly(length), tcp=True)
                if answer is not None:
                    await asyncio.sleep(delay)
                    writer.write(struct.pack(">H", len(answer)) + answer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
