"""The HTTP/1 servers on all public addresses, and the canaries on all others."""
import asyncio
import socket
import ssl
import struct
import time
from collections import Counter, defaultdict
from urllib.parse import unquote_to_bytes

from . import pictures, watch
from .answers import Keep, answer
from .kind import ANY, DOMAIN, WEB

PORTS = (80, 8080)
CANARY_PORTS = (22, 25, 81, 1080, 2375, 3128, 5432, 6379, 8000, 8888, 9200)
NOT_HERE = answer(b"not here", status="404 Not Found", kind="text/plain")


class Exchange:
    """One request and the connection that it came by."""

    def __init__(self, connection, line, headers, raw):
        self.connection = connection
        self.writer = connection.writer
        self.line = line
        self.headers = headers
        self.raw = raw
        self.target = line.split(" ")[1] if line.count(" ") >= 2 else ""
        self.host = self.headers.get("host", "").lower()
        self.visit = 0

    async def send(self, data):
        """Writes, waits while the client does not read, and lets others have their turn."""
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(pause(data))

    async def drip(self, data, size, seconds):
        """Writes so many bytes at a time, so many seconds apart."""
        for at in range(0, len(data), size):
            await self.send(data[at:at + size])
            await asyncio.sleep(seconds)

    def reset(self):
        """Closes with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Counts:
    """Requests under way by host, and how many there were at most."""

    def __init__(self):
        self.under_way = Counter()
        self.peak = Counter()
        self.requests = Counter()
        self.connections = 0

    def enter(self, host):
        self.requests[host] += 1
        self.under_way[host] += 1
        self.peak[host] = max(self.peak[host], self.under_way[host])

    def leave(self, host):
        self.under_way[host] -= 1


class Connection(asyncio.StreamReaderProtocol):
    """Cancels its handler when the client goes away."""

    def __init__(self, server):
        self.server = server
        self.served = 0
        self.writer = None
        self.task = None
        super().__init__(asyncio.StreamReader(limit=1 << 20), self.started)

    def started(self, reader, writer):
        self.writer = writer
        self.task = asyncio.get_running_loop().create_task(self.server.serve(self, reader))

    def connection_lost(self, error):
        super().connection_lost(error)
        if self.task:
            self.task.cancel()

    def eof_received(self):
        super().eof_received()
        if self.task and self.served_something():
            self.task.cancel()
        return False

    def served_something(self):
        return self.server.busy.get(self) is not None


class Server:
    def __init__(self, certificates):
        self.counts = Counts()
        self.visits = defaultdict(int)
        self.canaries = Counter()
        self.unknown = Counter()
        self.credentials = Counter()
        self.busy = {}
        self.certificates = certificates
        self.refused_until = {}
        self.escaped = {(host, unquote_to_bytes(target)): target for host, target in WEB.pages}

    async def start(self):
        loop = asyncio.get_running_loop()
        for (address, port), handler in WEB.connections.items():
            await self.raw(address, port, handler)
        for port in PORTS + CANARY_PORTS:
            await loop.create_server(lambda: Connection(self), sock=listener("::", port))
        context = self.certificates.context(DOMAIN)
        await loop.create_server(lambda: Connection(self), sock=listener("::", 443), ssl=context)

    async def raw(self, address, port, handler):
        """A listener that speaks no HTTP unless its handler does."""
        async def serve(reader, writer):
            try:
                await handler(reader, writer)
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                writer.close()
        await asyncio.start_server(serve, sock=listener(address, port))

    async def serve(self, connection, reader):
        """Requests of one connection until it ends."""
        writer = connection.writer
        self.counts.connections += 1
        local, port = writer.get_extra_info("sockname")[:2]
        try:
            if not watch.is_ours(local):
                await self.canary(reader, writer, local, port)
                return
            if writer.get_extra_info("ssl_object") and writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2":
                from . import h2
                await h2.serve(self, connection, reader, writer)
                return
            while await self.request(connection, reader):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def canary(self, reader, writer, local, port):
        """Logs, and answers with a photo that nobody may store."""
        self.canaries[local, port] += 1
        await asyncio.wait_for(reader.read(4096), 5)
        writer.write(answer(pictures.unique_jpeg(f"canary {local}"), "Connection: close"))
        await writer.drain()

    async def request(self, connection, reader):
        """One request; whether the connection stays open."""
        raw = await reader.readuntil(b"\r\n\r\n")
        exchange = self.exchange(connection, raw)
        host = exchange.host
        self.counts.enter(host)
        self.busy[connection] = exchange
        try:
            page = self.page(exchange)
            if isinstance(page, bytes):
                await exchange.send(page)
                return isinstance(page, Keep)
            return bool(await page(exchange))
        finally:
            connection.served += 1
            del self.busy[connection]
            self.counts.leave(host)

    def exchange(self, connection, raw):
        line, *rest = raw[:-4].decode("latin-1").split("\r\n")
        headers = {}
        for text in rest:
            name, _, value = text.partition(":")
            headers[name.strip().lower()] = value.strip()
        exchange = Exchange(connection, line, headers, raw)
        name, _, port = exchange.host.rpartition(":")
        if port.isdigit() and name:
            exchange.host = name
        exchange.host = exchange.host.rstrip(".")
        self.look_for_credentials(exchange)
        return exchange

    def look_for_credentials(self, exchange):
        for name in ("cookie", "authorization", "proxy-authorization", "referer"):
            if name in exchange.headers:
                self.credentials[name, exchange.host] += 1

    def page(self, exchange):
        key = exchange.host, exchange.target
        page = WEB.pages.get(key)
        if page is None:
            # Some clients escape more than others.
            key = exchange.host, self.escaped.get((exchange.host, unquote_to_bytes(exchange.target)), ANY)
            page = WEB.pages.get(key)
        if page is None:
            key = exchange.host, exchange.target
            self.unknown[key] += 1
            return NOT_HERE
        self.visits[key] += 1
        exchange.visit = self.visits[key]
        self.check_patience(key)
        return page

    def check_patience(self, key):
        """A page that was to be left alone until some time must not be asked before."""
        if time.monotonic() < self.refused_until.get(key, 0):
            WEB.notes.append(("impatient", f"{key} asked {self.refused_until[key] - time.monotonic():.2f} s too early"))

    def refuse(self, exchange, seconds):
        """Notes that the page is to be left alone."""
        self.refused_until[exchange.host, exchange.target] = time.monotonic() + seconds - 0.05


def pause(data):
    """Seconds to wait after a write, so that floods leave the other servers their time."""
    return min(0.05, len(data) / 20e6) if len(data) > 40_000 else 0


def listener(address, port):
    """A listening socket that may stand beside a more general one."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((address, port))
    sock.listen(4096)
    return sock
