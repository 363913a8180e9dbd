"""robots.txt and the TDM reservation protocol. Only for runs that are told to ask for them: `--wishes`."""
import asyncio
import json

from ..answers import answer, chunks, head, redirect
from ..kind import kind

AGENT_GROUPS = "User-agent: googlebot\nDisallow: /\n\nUser-agent: laioncele\nDisallow: /private\n\nUser-agent: *\nDisallow: /\n"
ALLOWS = {
    "404": answer(b"", status="404 Not Found"),
    "403": answer(b"", status="403 Forbidden"),
    "empty": answer(b"", kind="text/plain"),
    "disallows_others": answer(b"User-agent: googlebot\nDisallow: /\n", kind="text/plain"),
    "disallows_elsewhere": answer(b"User-agent: *\nDisallow: /private/\n", kind="text/plain"),
    "our_group_wins": answer(AGENT_GROUPS.encode(), kind="text/plain"),
    "longer_allow_wins": answer(b"User-agent: *\nDisallow: /\nAllow: /*.jpg$\n", kind="text/plain"),
    "empty_disallow": answer(b"User-agent: *\nDisallow:\n", kind="text/plain"),
    "page": answer(b"<html><body>Disallow: /</body></html>", kind="text/html"),
    "binary": answer(bytes(range(256)) * 10, kind="text/plain"),
    "disallows_in_comment": answer(b"User-agent: * # Disallow: /\n#Disallow: /\n", kind="text/plain"),
    "disallow_after_600_kb": answer(b"# filler\n" * 70_000 + b"User-agent: *\nDisallow: /\n", kind="text/plain"),
}
FORBIDS = {
    "all": answer(b"User-agent: *\nDisallow: /\n", kind="text/plain"),
    "us": answer(b"User-agent: laioncele\nDisallow: /\n", kind="text/plain"),
    "us_in_capitals": answer(b"USER-AGENT: LAIONCELE\nDISALLOW: /\n", kind="text/plain"),
    "several_agents": answer(b"User-agent: googlebot\nUser-agent: laioncele\nDisallow: /\n", kind="text/plain"),
    "pattern": answer(b"User-agent: *\nDisallow: /*.jpg$\n", kind="text/plain"),
    "carriage_returns": answer(b"User-agent: *\rDisallow: /\r", kind="text/plain"),
    "byte_order_mark": answer(b"\xef\xbb\xbfUser-agent: *\nDisallow: /\n", kind="text/plain"),
    "moved": redirect("/robots2.txt"),
    "500": answer(b"", status="500 Internal Server Error"),
    "chunked": head("Transfer-Encoding: chunked") + chunks(b"User-agent: *\nDisallow: /\n", size=3),
}


def robots(name, text, allows):
    @kind(f"wishes/robots_{'allows' if allows else 'forbids'}_{name}", rows=3)
    def make(row):
        row.page(text, target="/robots.txt")
        row.page(FORBIDS["all"], target="/robots2.txt")
        row.page(answer(row.photo() if allows else row.jpeg()))
        if not allows:
            row.drop("opt_out")


for _name, _text in ALLOWS.items():
    robots(_name, _text, allows=True)
for _name, _text in FORBIDS.items():
    robots(_name, _text, allows=False)


def hostile_robots(name, page):
    @kind(f"wishes/robots_{name}", rows=3)
    def make(row):
        row.page(page, target="/robots.txt")
        row.page(answer(row.photo()))
        row.drop("opt_out", "timeout", "blocked_address", "connect", "bad_response")


async def never(exchange):
    await asyncio.sleep(300)


async def endless(exchange):
    await exchange.send(head("Transfer-Encoding: chunked"))
    while True:
        await exchange.send(b"10000\r\n" + b"Disallow: /x\n   " * 4096 + b"\r\n")


async def drips(exchange):
    await exchange.send(head("Transfer-Encoding: chunked"))
    while True:
        await exchange.send(b"1\r\n#\r\n")
        await asyncio.sleep(0.25)


hostile_robots("never", never)
hostile_robots("endless", endless)
hostile_robots("drips", drips)
hostile_robots("to_loopback", redirect("http://127.0.0.1/robots.txt"))
hostile_robots("closed", b"")


@kind("wishes/robots_one_host", rows=20, one_host=True)
def robots_one_host(row):
    if row.number == 0:
        row.page(answer(b"User-agent: *\nDisallow: /1\n", kind="text/plain"), target="/robots.txt")
    row.page(answer(row.photo() if not str(row.number).startswith("1") else row.jpeg()))
    if str(row.number).startswith("1"):
        row.drop("opt_out")


TDM = {"1": True, " 1 ": True, "0": False, "": False, "yes": False}


@kind("wishes/tdm_header", rows=len(TDM))
def tdm_header(row):
    value, reserves = list(TDM.items())[row.number]
    row.page(answer(row.jpeg() if reserves else row.photo(), f"tdm-reservation: {value}"))
    if reserves:
        row.drop("opt_out")


def rules(*pairs):
    return answer(json.dumps([{"location": at, "tdm-reservation": value} for at, value in pairs]).encode(), kind="application/json")


TDM_FILES = [(rules(("/", 1)), True), (rules(("/*.jpg", 1)), True), (rules(("/private", 1)), False), (rules(("/", 0)), False),
             (answer(b"{not json", kind="application/json"), False), (answer(b"[]"), False), (answer(b"", status="404 Not Found"), False)]


@kind("wishes/tdm_file", rows=len(TDM_FILES))
def tdm_file(row):
    page, reserves = TDM_FILES[row.number]
    row.page(page, target="/.well-known/tdmrep.json")
    row.page(answer(row.jpeg() if reserves else row.photo()))
    if reserves:
        row.drop("opt_out")
