"""Servers that take their time, and those that never end."""
import asyncio

from ..answers import answer, head
from ..kind import BROKEN, SERVER, WEB, kind
from ..names import fixed

LATE = ("timeout", "connect")


def slow(name, serve, rows=3, keeps=True, one_host=False, classes=LATE):
    """`serve(exchange, whole)` sends the answer in its own time."""
    @kind(f"slow/{name}", rows=rows, one_host=one_host)
    def make(row):
        whole = answer(row.photo() if keeps else row.jpeg())

        async def page(exchange):
            return await serve(exchange, whole)
        row.page(page)
        if not keeps:
            row.drop(*classes)


async def waits_2_s(exchange, whole):
    await asyncio.sleep(2)
    await exchange.send(whole)


async def drips_head(exchange, whole):
    at = whole.index(b"\r\n\r\n") + 4
    await exchange.drip(whole[:at], 2, 3 / (at / 2))
    await exchange.send(whole[at:])


async def drips_body(exchange, whole):
    at = whole.index(b"\r\n\r\n") + 4
    await exchange.send(whole[:at])
    await exchange.drip(whole[at:], 200, 3 / (len(whole) / 200))


async def pauses_in_body(exchange, whole):
    await exchange.send(whole[:2000])
    await asyncio.sleep(2)
    await exchange.send(whole[2000:])


async def pauses_after_head(exchange, whole):
    at = whole.index(b"\r\n\r\n") + 4
    await exchange.send(whole[:at])
    await asyncio.sleep(2)
    await exchange.send(whole[at:])


async def pauses_between_chunks(exchange, whole):
    body = whole[whole.index(b"\r\n\r\n") + 4:]
    await exchange.send(head("Transfer-Encoding: chunked"))
    size = len(body) // 6 + 1
    for at in range(0, len(body), size):
        piece = body[at:at + size]
        await exchange.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
        await asyncio.sleep(0.4)
    await exchange.send(b"0\r\n\r\n")


async def late_last_chunk(exchange, whole):
    body = whole[whole.index(b"\r\n\r\n") + 4:]
    await exchange.send(head("Transfer-Encoding: chunked") + b"%x\r\n" % len(body) + body + b"\r\n")
    await asyncio.sleep(1.5)
    await exchange.send(b"0\r\n\r\n")


async def first_request_hangs(exchange, whole):
    if exchange.visit == 1:
        await asyncio.sleep(300)
    await exchange.send(whole)


slow("waits_2_s", waits_2_s, rows=7)
slow("drips_head_3_s", drips_head, rows=7)
slow("drips_body_3_s", drips_body, rows=7)
slow("pauses_in_body", pauses_in_body, rows=7)
slow("pauses_after_head", pauses_after_head, rows=7)
slow("pauses_between_chunks", pauses_between_chunks, rows=7)
slow("late_last_chunk", late_last_chunk, rows=7)
slow("first_request_hangs", first_request_hangs, rows=3)


async def never(exchange, whole):
    await asyncio.sleep(300)


async def status_line_then_never(exchange, whole):
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    await asyncio.sleep(300)


async def head_then_never(exchange, whole):
    await exchange.send(whole[:whole.index(b"\r\n\r\n") + 4])
    await asyncio.sleep(300)


async def half_body_then_never(exchange, whole):
    await exchange.send(whole[:len(whole) // 2])
    await asyncio.sleep(300)


async def all_but_last_byte(exchange, whole):
    await exchange.send(whole[:-1])
    await asyncio.sleep(300)


async def drips_head_for_ever(exchange, whole):
    await exchange.send(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        await exchange.send(b"x")
        await asyncio.sleep(0.25)


async def drips_headers_for_ever(exchange, whole):
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await exchange.send(b"X-A: b\r\n")
        await asyncio.sleep(0.25)


async def drips_body_for_ever(exchange, whole):
    await exchange.send(head("Content-Length: 1000000") + whole[-5000:])
    while True:
        await exchange.send(b"x")
        await asyncio.sleep(0.25)


async def drips_chunks_for_ever(exchange, whole):
    await exchange.send(head("Transfer-Encoding: chunked"))
    while True:
        await exchange.send(b"1\r\nx\r\n")
        await asyncio.sleep(0.25)


async def drips_until_close_for_ever(exchange, whole):
    await exchange.send(head("Content-Type: image/jpeg"))
    while True:
        await exchange.send(b"x")
        await asyncio.sleep(0.25)


async def drips_trailers_for_ever(exchange, whole):
    await exchange.send(head("Transfer-Encoding: chunked") + b"0\r\n")
    while True:
        await exchange.send(b"X: y\r\n")
        await asyncio.sleep(0.25)


for _serve in (never, status_line_then_never, head_then_never, half_body_then_never, all_but_last_byte, drips_head_for_ever,
               drips_headers_for_ever, drips_body_for_ever, drips_chunks_for_ever, drips_until_close_for_ever):
    slow(_serve.__name__, _serve, keeps=False, rows=4)
slow("drips_trailers_for_ever", drips_trailers_for_ever, keeps=False, rows=4, classes=(*LATE, "not_an_image"))

# One host with many rows that never answers holds nobody up.
slow("silent_host_with_60_rows", never, keeps=False, rows=60, one_host=True)


async def waits_half_a_second(exchange, whole):
    await asyncio.sleep(0.5)
    await exchange.send(whole)
    return True


slow("slow_host_with_60_rows", waits_half_a_second, rows=60, one_host=True)


@kind("slow/never_accepts", rows=4)
def never_accepts(row):
    address = "93.184.66.1"
    WEB.connections[address, 80] = None
    WEB.names[row.host] = fixed(address)
    row.drop(*LATE)


@kind("slow/accepts_and_closes", rows=5)
def accepts_and_closes(row):
    async def handler(reader, writer):
        pass
    WEB.connections["93.184.66.2", 80] = handler
    WEB.names[row.host] = fixed("93.184.66.2")
    row.drop(*BROKEN)


@kind("slow/accepts_and_never_reads", rows=3)
def accepts_and_never_reads(row):
    async def handler(reader, writer):
        await asyncio.sleep(300)
    WEB.connections["93.184.66.3", 80] = handler
    WEB.names[row.host] = fixed("93.184.66.3")
    row.drop(*LATE)


@kind("slow/answers_before_request", rows=4)
def answers_before_request(row):
    address = f"93.184.66.{10 + row.number}"
    whole = answer(row.photo(), "Connection: close")

    async def handler(reader, writer):
        writer.write(whole)
        await writer.drain()
        await reader.read(4096)
        await asyncio.sleep(0.1)
    WEB.connections[address, 80] = handler
    WEB.names[row.host] = fixed(address)
    row.drop(*BROKEN)


@kind("slow/dead_address_then_living", rows=5)
def dead_address_then_living(row):
    """The first address never accepts; the second serves."""
    WEB.connections["93.184.66.1", 80] = None
    WEB.names[row.host] = fixed("93.184.66.1", SERVER)
    row.page(answer(row.photo()))
