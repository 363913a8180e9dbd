"""HTTP/2 by frames: as much of it as hostility needs."""
import asyncio
import struct

from hpack import Decoder, Encoder

from .kind import WEB

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, ACK = 1, 4, 8, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def header_block(*headers, status="200"):
    """An encoded header list, no entry in the dynamic table."""
    encoder = Encoder()
    return b"".join(encoder.encode([(n, v, True)]) for n, v in [(":status", status), *headers])


def headers(stream, *fields, status="200", end=False):
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, header_block(*fields, status=status))


def data(stream, body, size=16_384, end=True):
    """The body in frames."""
    out = [frame(DATA, 0, stream, body[at:at + size]) for at in range(0, len(body), size)]
    return b"".join(out) + (frame(DATA, END_STREAM, stream) if end else b"")


class Session:
    """One connection and what the client has said on it."""

    def __init__(self, server, connection, reader, writer):
        self.server = server
        self.connection = connection
        self.reader = reader
        self.writer = writer
        self.decoder = Decoder()
        self.window = asyncio.Condition()
        self.streams = 0
        self.first_window = 65_535
        self.open = {}
        self.whole = 65_535

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(min(0.05, len(data) / 20e6) if len(data) > 40_000 else 0)

    async def body(self, stream, body, size=16_384, end=True, padding=0):
        """The body within the client's windows; small frames some at a time."""
        sent = b""
        for at in range(0, len(body), size):
            piece = body[at:at + size]
            cost = len(piece) + (padding + 1 if padding else 0)
            async with self.window:
                await self.window.wait_for(lambda: min(self.whole, self.open.get(stream, 0)) >= cost)
                self.whole -= cost
                self.open[stream] -= cost
            if padding:
                sent += frame(DATA, PADDED, stream, bytes([padding]) + piece + bytes(padding))
            else:
                sent += frame(DATA, 0, stream, piece)
            if len(sent) > 1000:
                await self.send(sent)
                sent = b""
        await self.send(sent + (frame(DATA, END_STREAM, stream) if end else b""))

    async def photo(self, stream, photo, *fields, **options):
        await self.send(headers(stream, ("content-type", "image/jpeg"), ("content-length", str(len(photo))), *fields))
        await self.body(stream, photo, **options)


async def serve(server, connection, reader, writer):
    """Requests of one connection, each in a task of its own."""
    session = Session(server, connection, reader, writer)
    if await reader.readexactly(len(PREFACE)) != PREFACE:
        return
    await session.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100)))
    tasks = set()
    try:
        while True:
            kind, flags, stream, payload = await read_frame(reader)
            task = await take(session, kind, flags, stream, payload)
            if task:
                tasks.add(asyncio.get_running_loop().create_task(task))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_frame(reader):
    head = await reader.readexactly(9)
    length = int.from_bytes(head[:3], "big")
    stream, = struct.unpack(">I", head[5:])
    return head[3], head[4], stream, await reader.readexactly(length)


async def take(session, kind, flags, stream, payload):
    """Files a frame of the client; a request gives the coroutine that answers it."""
    if kind == SETTINGS and not flags & ACK:
        for at in range(0, len(payload), 6):
            key, value = struct.unpack(">HI", payload[at:at + 6])
            if key == 4:
                session.first_window = value
        await session.send(frame(SETTINGS, ACK, 0))
    elif kind == WINDOW_UPDATE:
        more, = struct.unpack(">I", payload)
        async with session.window:
            if stream:
                session.open[stream] = session.open.get(stream, session.first_window) + more
            else:
                session.whole += more
            session.window.notify_all()
    elif kind == PING and not flags & ACK:
        await session.send(frame(PING, ACK, 0, payload))
    elif kind == HEADERS:
        skip = 5 if flags & 0x20 else 0
        fields = {n: v for n, v in session.decoder.decode(payload[skip:])}
        session.open.setdefault(stream, session.first_window)
        session.streams += 1
        return answer(session, stream, fields)
    return None


async def answer(session, stream, fields):
    """Calls the page's handler."""
    host = fields.get(":authority", "").lower().rpartition(":")[0] or fields.get(":authority", "").lower()
    target = fields.get(":path", "")
    server = session.server
    server.counts.enter(host)
    try:
        for name in ("cookie", "authorization", "referer"):
            if name in fields:
                server.credentials[name, host] += 1
        page = WEB.http2.get(host, {}).get(target)
        server.visits[host, target] += 1
        if page is None:
            await session.send(headers(stream, status="404", end=True))
        else:
            await page(session, stream, server.visits[host, target])
    except (OSError, asyncio.CancelledError):
        pass
    finally:
        server.counts.leave(host)
