"""Runs laioncele over the hostile web and prints what came out. See run.sh."""
import argparse
import asyncio
import re
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

from . import judge, kinds, network, paths, process, server  # noqa: F401
from .certificates import Certificates
from .kind import KINDS, WEB, rows_of
from .names import NameServer
from .watch import Watch

WAYS = {way.name: way for way in (paths.Download, paths.Stage, paths.Engine)}


def options():
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--way", choices=[*WAYS, "serve"], default="download", help="what is run; serve: the servers alone")
    parser.add_argument("--kinds", default="", help="regular expression of the kinds' names")
    parser.add_argument("--rows", type=int, default=0, help="rows of a kind at most, those of one host excepted")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "hostile-web", help="folder for everything that is written")
    parser.add_argument("--seconds", type=float, default=600, help="the command is ended after these")
    parser.add_argument("--per-host", type=int, default=8, help="requests to one host at once that are allowed")
    parser.add_argument("--settings", nargs="*", default=[], help="lines for [download_images]")
    parser.add_argument("--wishes", action="store_true", help="the kinds of robots.txt and TDM alone; the command must be told to ask for them")
    parser.add_argument("--list", action="store_true", help="print the kinds and end")
    parser.add_argument("--arguments", nargs=argparse.REMAINDER, default=[], help="further arguments of the command; comes last")
    return parser.parse_args()


class Hostile:
    """All servers."""

    def __init__(self, folder, names):
        self.names = names
        self.web = server.Server(Certificates(folder))
        self.watch = Watch()
        self.full = []
        self.late = 0.0

    async def start(self):
        full = [where for where, handler in WEB.connections.items() if handler is None]
        for where in full:
            del WEB.connections[where]
            self.fill(where)
        await self.web.start()
        self.watch.start()
        await self.try_watch()
        self.clock = asyncio.get_running_loop().create_task(self.look_at_the_clock())

    async def look_at_the_clock(self):
        """How late the servers are at most: what a client sees of a machine that is too busy."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.05)
            self.late = max(self.late, time.monotonic() - before - 0.05)

    async def try_watch(self):
        """The watch must see what it is there for: one connection and one datagram of our own."""
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            stream.setblocking(False)
            stream.connect_ex(("10.255.255.1", 4444))
            datagrams.sendto(b"x", ("169.254.169.254", 4444))
            await asyncio.sleep(0.5)
        seen = {(protocol, port) for protocol, _, port in self.watch.touched}
        if seen != {("tcp", 4444), ("udp", 4444)}:
            raise SystemExit(f"the watch over forbidden addresses is blind: it saw {seen}")
        self.watch.touched.clear()

    def fill(self, where):
        """A listener whose queue is full, so that nobody connects any more."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(where)
        sock.listen(0)
        self.full.append(sock)
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(where)
            self.full.append(client)

    def report(self, limit):
        """What the servers saw, as lines; and whether any of it may not be."""
        web, lines = self.web, []
        touched = self.watch.touched.copy()
        for address, count in web.canaries.items():
            touched["canary", *address] = count
        lines.append(f"forbidden addresses touched: {sum(touched.values())}")
        lines += [f"  {' '.join(map(str, k))}: {n}" for k, n in touched.most_common(20)]
        leaks = {k: n for k, n in web.credentials.items()}
        lines.append(f"credentials, cookies or referrers received: {sum(leaks.values())}")
        lines += [f"  {' at '.join(k)}: {n}" for k, n in list(leaks.items())[:20]]
        lines.append(f"asked too early: {len(WEB.notes)}")
        lines += [f"  {text}" for _, text in WEB.notes[:10]]
        peak = web.counts.peak.most_common(3)
        lines.append(f"requests at once to one host: {peak} (allowed: {limit})")
        lines.append(f"connections: {web.counts.connections}, requests: {sum(web.counts.requests.values())}, "
                     f"questions to the name server: {self.names.questions.value}")
        lines.append(f"the servers: {time.process_time():.1f} s of CPU, at most {self.late:.2f} s late (above 1 s they spoil the result)")
        unknown = [f"{host}{target}"[:80] for (host, target) in list(web.unknown)[:12]]
        lines.append(f"pages asked for that nobody has: {len(web.unknown)} {unknown}")
        bad = bool(touched or leaks or WEB.notes or (peak and peak[0][1] > limit))
        return lines, bad


def main():
    args = options()
    chosen = [k for name, k in KINDS.items() if re.search(args.kinds, name) and name.startswith("wishes/") == args.wishes]
    for one in chosen:
        if args.rows and not one.one_host:
            one.rows = min(one.rows, args.rows)
    if args.list:
        print(*[f"{k.name} {k.rows}" for k in chosen], f"{len(chosen)} kinds, {sum(k.rows for k in chosen)} rows", sep="\n")
        return 0
    shutil.rmtree(args.work, ignore_errors=True)
    rows = rows_of(chosen)
    args.count = len(rows)
    network.set_up()
    network.set_up_names()
    paths.metadata(rows, args.work / "source", args.repository)
    names = NameServer()
    names.start()
    return asyncio.run(hold(args, chosen, rows, names))


async def hold(args, chosen, rows, names):
    """Runs the command over the rows and prints the verdict."""
    hostile = Hostile(args.work / "tls", names)
    await hostile.start()
    if args.way == "serve":
        print(f"serving {len(rows)} rows of {len(chosen)} kinds; {args.work}/source has the metadata; Ctrl-C ends", flush=True)
        await asyncio.Event().wait()
    way = WAYS[args.way](args, args.work)
    await way.prepare()
    done = await process.run(list(map(str, way.command())), args.seconds, paths.environment(args.work / "tls"), args.work / "run.log")
    verdict = judge.judge(rows, way.fates())
    print(f"== {args.way}: {len(chosen)} kinds, {len(rows)} rows; exit {done.code}; {done.seconds:.1f} s, {done.cpu_seconds:.1f} s of CPU, "
          f"{done.megabytes:.0f} MB at most")
    print(judge.report(verdict))
    print("outcomes:", dict(judge.tally(way.fates()).most_common()))
    lines, bad = hostile.report(args.per_host)
    print(*lines, sep="\n")
    if done.code:
        print(done.text[-3000:])
    return 1 if bad or verdict.right < len(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
