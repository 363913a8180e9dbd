"""Bodies: odd chunks, ends that come too early, connections that die or carry what nobody asked for."""
import asyncio

from ..answers import Keep, answer, chunked, chunks, head
from ..kind import BROKEN, kind

CUT = (*BROKEN, "corrupt", "timeout")


def in_chunks(name, rows=6, taste=(), header="Transfer-Encoding: chunked", **options):
    @kind(f"chunks/{name}", rows=rows)
    def make(row):
        row.page(head(header, "Content-Type: image/jpeg") + chunks(row.photo(), **options))
        if taste:
            row.drop(*taste)


in_chunks("plain")
in_chunks("one", size=1 << 20)
in_chunks("bytes_100", size=100)
in_chunks("bytes_1", size=1)
in_chunks("bytes_1_extensions", size=1, extension=b";x=y")
in_chunks("bytes_1_long_extensions", size=1, extension=b";name=" + b"v" * 30)
in_chunks("extension", extension=b";a=b")
in_chunks("extension_quoted", extension=b';a="b;c"')
in_chunks("extension_blank", extension=b" ; a = b")
in_chunks("extension_of_1_kb", extension=b";x=" + b"y" * 1000)
in_chunks("extension_of_20_kb", size=5000, extension=b";x=" + b"y" * 20_000, rows=3, taste=CUT)
in_chunks("blank_after_size", extension=b"  ")
in_chunks("upper_case", number="{:X}")
in_chunks("zeros_before", number="{:08x}")
in_chunks("zeros_before_16", number="{:016x}")
in_chunks("zeros_before_40", number="{:040x}", rows=3, taste=CUT)
in_chunks("bare_lf", newline=b"\n", taste=CUT)
in_chunks("trailer", trailer=b"X-Sum: 1\r\n")
in_chunks("trailers_50", trailer=b"".join(b"X-T%d: v\r\n" % i for i in range(50)))
in_chunks("trailer_opt_out", trailer=b"X-Robots-Tag: noai\r\n", taste=("opt_out",))
in_chunks("capitals", header="TRANSFER-ENCODING: CHUNKED")
in_chunks("twice", header="Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", rows=3, taste=CUT)
in_chunks("twice_in_list", header="Transfer-Encoding: chunked, chunked", rows=3, taste=CUT)
in_chunks("identity_chunked", header="Transfer-Encoding: identity, chunked", rows=3, taste=CUT)
in_chunks("blank_header", header="Transfer-Encoding:  chunked ")
in_chunks("last_missing", last=False, rows=4, taste=CUT)


def broken_chunks(name, write, rows=4):
    @kind(f"chunks/{name}", rows=rows)
    def make(row):
        row.page(head("Transfer-Encoding: chunked") + write(row.jpeg()))
        row.drop(*CUT, "not_an_image", "too_large")


broken_chunks("not_chunked", lambda b: b)
broken_chunks("size_negative", lambda b: b"-5\r\n" + b)
broken_chunks("size_nonsense", lambda b: b"zz\r\n" + b)
broken_chunks("size_empty", lambda b: b"\r\n" + b)
broken_chunks("size_overflow", lambda b: b"fffffffffffffffff\r\n" + b)
broken_chunks("size_huge", lambda b: b"7fffffffffffffff\r\n" + b)
broken_chunks("size_with_0x", lambda b: b"0x%x\r\n" % len(b) + b + b"\r\n0\r\n\r\n")
broken_chunks("no_line_end", lambda b: b"%x\r\n" % len(b) + b + b"0\r\n\r\n")
broken_chunks("cut_in_chunk", lambda b: b"%x\r\n" % (len(b) + 500) + b)
broken_chunks("cut_in_size", lambda b: chunks(b[:1000], size=500, last=False) + b"3e")
broken_chunks("cut_half", lambda b: chunks(b[:len(b) // 2], last=False))
broken_chunks("empty", lambda b: b"0\r\n\r\n")
broken_chunks("nothing", lambda b: b"")


@kind("chunks/http_1_0", rows=4)
def chunks_http_1_0(row):
    row.page(head("Transfer-Encoding: chunked", version="HTTP/1.0") + chunks(row.photo()))
    row.drop(*CUT, "not_an_image")


@kind("chunks/identity", rows=4)
def identity(row):
    body = row.photo()
    row.page(head("Transfer-Encoding: identity", f"Content-Length: {len(body)}") + body)
    row.drop(*CUT)


@kind("chunks/unknown_coding", rows=3)
def unknown_coding(row):
    row.page(head("Transfer-Encoding: xchunked") + chunks(row.jpeg()))
    row.drop(*CUT, "not_an_image")


def floods(name, start, piece, rows=3):
    """An answer that goes on for ever."""
    @kind(f"chunks/{name}", rows=rows)
    def make(row):
        async def page(exchange):
            await exchange.send(head("Transfer-Encoding: chunked") + start)
            while True:
                await exchange.send(piece)
        row.page(page)
        row.drop(*BROKEN, "too_large", "timeout", "corrupt", "not_an_image")


floods("endless_extension", b"5;x=", b"y" * 65536)
floods("endless_extensions", b"", b"1;" + b"e" * 4000 + b"\r\nx\r\n")
floods("endless_trailers", b"0\r\n", b"X-T: v\r\n" * 5000)
floods("endless_trailer", b"0\r\nX-T: ", b"v" * 65536)
floods("endless_size", b"", b"0" * 65536)
floods("endless_chunks", b"", b"10000\r\n" + b"x" * 65536 + b"\r\n", rows=2)
floods("endless_chunks_bytes_1", b"", b"1\r\nx\r\n" * 5000, rows=2)


def ends(name, cut, how="close", rows=5):
    """An answer that stops after `cut(bytes of the answer, length of the head)` bytes."""
    @kind(f"ends/{name}", rows=rows)
    def make(row):
        whole = answer(row.jpeg())
        at = cut(len(whole), whole.index(b"\r\n\r\n") + 4)

        async def page(exchange):
            await exchange.send(bytes(whole[:at]))
            if how == "reset":
                await asyncio.sleep(0.05)
                exchange.reset()
        row.page(page)
        row.drop(*CUT)


for _how in ("close", "reset"):
    ends(f"{_how}_before_answer", lambda n, h: 0, _how)
    ends(f"{_how}_in_status_line", lambda n, h: 10, _how)
    ends(f"{_how}_in_head", lambda n, h: h - 10, _how)
    ends(f"{_how}_after_head", lambda n, h: h, _how)
    ends(f"{_how}_in_body", lambda n, h: (n + h) // 2, _how)
    ends(f"{_how}_before_last_byte", lambda n, h: n - 1, _how)


@kind("ends/reset_after_body", rows=5)
def reset_after_body(row):
    whole = answer(row.photo(), "Connection: close")

    async def page(exchange):
        await exchange.send(whole)
        await asyncio.sleep(0.3)
        exchange.reset()
    row.page(page)


def first_then_photo(name, fault, rows=6):
    """The first request fails, the second is answered."""
    @kind(f"again/{name}", rows=rows)
    def make(row):
        whole = answer(row.photo())

        async def page(exchange):
            if exchange.visit == 1:
                await fault(exchange, whole)
                return False
            await exchange.send(whole)
            return True
        row.page(page)


async def close_first(exchange, whole):
    pass


async def reset_first(exchange, whole):
    exchange.reset()


async def cut_first(exchange, whole):
    await exchange.send(bytes(whole[:len(whole) // 2]))


async def garbage_first(exchange, whole):
    await exchange.send(b"\0\1\2garbage\r\n\r\n")


first_then_photo("close", close_first)
first_then_photo("reset", reset_first)
first_then_photo("cut", cut_first)


@kind("again/garbage", rows=4)
def garbage(row):
    whole = answer(row.photo())

    async def page(exchange):
        if exchange.visit == 1:
            await garbage_first(exchange, whole)
            return False
        await exchange.send(whole)
        return True
    row.page(page)
    row.drop("bad_response")


def kept_alive(name, after, rows=12, taste=()):
    """Rows of one host, whose connections stay open after each answer and then misbehave."""
    @kind(f"alive/{name}", rows=rows, one_host=True)
    def make(row):
        whole = answer(row.photo())

        async def page(exchange):
            return await after(exchange, whole)
        row.page(page)
        if taste:
            row.drop(*taste)


async def dies_on_reuse(exchange, whole):
    if exchange.connection.served:
        return False
    await exchange.send(whole)
    return True


async def resets_on_reuse(exchange, whole):
    if exchange.connection.served:
        exchange.reset()
        return False
    await exchange.send(whole)
    return True


async def closes_at_once(exchange, whole):
    await exchange.send(whole)
    return False


async def closes_soon(exchange, whole):
    await exchange.send(whole)
    await asyncio.sleep(0.03)
    return False


async def half_head_on_reuse(exchange, whole):
    if exchange.connection.served:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-")
        return False
    await exchange.send(whole)
    return True


async def timeout_answer(exchange, whole):
    await exchange.send(whole)
    await asyncio.sleep(0.02)
    await exchange.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    return False


async def smuggled(exchange, whole):
    from .. import pictures
    await exchange.send(whole + answer(pictures.unique_jpeg("smuggled")))
    return True


async def blank_lines(exchange, whole):
    await exchange.send(whole + b"\r\n\r\n")
    return True


async def once_in_three(exchange, whole):
    if exchange.connection.served % 3 == 2:
        return False
    await exchange.send(whole)
    return True


async def plain(exchange, whole):
    await exchange.send(whole)
    return True


kept_alive("plain", plain)
kept_alive("dies_on_reuse", dies_on_reuse)
kept_alive("resets_on_reuse", resets_on_reuse)
kept_alive("closes_at_once", closes_at_once)
kept_alive("closes_soon", closes_soon)
kept_alive("half_head_on_reuse", half_head_on_reuse)
kept_alive("timeout_answer_when_idle", timeout_answer)
kept_alive("smuggled_answer", smuggled)
kept_alive("blank_lines_after", blank_lines)
kept_alive("dies_every_third", once_in_three)


@kind("alive/http_1_0_keep_alive", rows=6, one_host=True)
def http_1_0_keep_alive(row):
    row.page(Keep(answer(row.photo(), "Connection: keep-alive", version="HTTP/1.0")))


@kind("alive/404_between", rows=12, one_host=True)
def not_found_between(row):
    if row.number % 2:
        row.page(answer(b"gone", status="404 Not Found"))
        row.drop("http_4xx")
    else:
        row.page(answer(row.photo()))


@kind("alive/chunked", rows=12, one_host=True)
def chunked_alive(row):
    row.page(chunked(row.photo(), size=777))


@kind("alive/head_of_304", rows=6, one_host=True)
def head_of_304(row):
    if row.number % 2:
        row.page(Keep(head("Content-Length: 5000", status="304 Not Modified")))
        row.drop("bad_response", "http_4xx", "not_an_image", "too_many_redirects")
    else:
        row.page(answer(row.photo()))
