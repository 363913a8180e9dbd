"""HTTP/2, sound and hostile."""
import asyncio
import gzip
import struct

from ..answers import answer
from ..h2 import (CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS,
                  WINDOW_UPDATE, data, frame, header_block, headers)
from ..kind import BROKEN, WEB, kind

BAD = (*BROKEN, "timeout", "too_large", "corrupt", "not_an_image")
REFUSED_STREAM, CANCEL, PROTOCOL_ERROR, ENHANCE_YOUR_CALM, HTTP_1_1_REQUIRED = 7, 8, 1, 11, 13


def over(name, serve, rows=5, keeps=True, taste=(), one_host=False):
    """`serve(session, stream, visit, photo)` answers a request."""
    @kind(f"http2/{name}", rows=rows, scheme="https", one_host=one_host)
    def make(row):
        photo = row.photo() if keeps else row.jpeg()

        async def page(session, stream, visit):
            await serve(session, stream, visit, photo)
        WEB.http2.setdefault(row.host, {})[row.target] = page
        if not keeps or taste:
            row.drop(*(taste or BAD))


async def plain(s, n, visit, photo):
    await s.photo(n, photo)


async def small_frames(s, n, visit, photo):
    await s.photo(n, photo, size=100)


async def frames_of_1_byte(s, n, visit, photo):
    await s.photo(n, photo, size=1)


async def padding(s, n, visit, photo):
    await s.photo(n, photo, size=1000, padding=200)


async def padding_of_a_byte(s, n, visit, photo):
    """More padding than photo."""
    await s.photo(n, photo, size=40, padding=255)


async def empty_frames_between(s, n, visit, photo):
    await s.send(headers(n, ("content-type", "image/jpeg")))
    for at in range(0, len(photo), 1000):
        await s.send(frame(DATA, 0, n) * 3)
        await s.body(n, photo[at:at + 1000], end=False)
    await s.send(frame(DATA, END_STREAM, n))


async def no_length(s, n, visit, photo):
    await s.send(headers(n, ("content-type", "image/jpeg")))
    await s.body(n, photo)


async def trailers(s, n, visit, photo):
    await s.send(headers(n, ("content-type", "image/jpeg")))
    await s.body(n, photo, end=False)
    encoded = header_block(("x-sum", "1"))
    await s.send(frame(HEADERS, END_HEADERS | END_STREAM, n, encoded[len(header_block()):]))


async def hints_first(s, n, visit, photo):
    await s.send(headers(n, ("link", "</a.css>"), status="103") * 5)
    await s.photo(n, photo)


async def continuation(s, n, visit, photo):
    block = header_block(("content-type", "image/jpeg"), *[(f"x-h{i}", "v" * 50) for i in range(40)])
    await s.send(frame(HEADERS, 0, n, block[:20]) + frame(CONTINUATION, 0, n, block[20:60]) + frame(CONTINUATION, END_HEADERS, n, block[60:]))
    await s.body(n, photo)


async def unknown_frames(s, n, visit, photo):
    await s.send(frame(0x42, 0xFF, 0, b"what") + frame(0xFA, 0, n, b"ever"))
    await s.photo(n, photo)


async def priorities(s, n, visit, photo):
    await s.send(frame(PRIORITY, 0, n, struct.pack(">IB", 0, 10)))
    await s.photo(n, photo)


async def pings_20(s, n, visit, photo):
    await s.send(frame(PING, 0, 0, b"12345678") * 20)
    await s.photo(n, photo)


async def settings_changed(s, n, visit, photo):
    await s.send(frame(SETTINGS, 0, 0, struct.pack(">HIHI", 4, 1000, 1, 0)))
    await s.photo(n, photo)


async def gzip_label(s, n, visit, photo):
    packed = gzip.compress(photo)
    await s.send(headers(n, ("content-encoding", "gzip"), ("content-type", "image/jpeg")))
    await s.body(n, packed)


async def headers_300(s, n, visit, photo):
    await s.send(headers(n, ("content-type", "image/jpeg"), *[(f"x-h{i}", "value") for i in range(300)]))
    await s.body(n, photo)


async def goaway_after_answer(s, n, visit, photo):
    await s.photo(n, photo)
    await s.send(frame(GOAWAY, 0, 0, struct.pack(">II", n, 0)))
    s.writer.close()


async def goaway_before_answer(s, n, visit, photo):
    """The stream is still served."""
    await s.send(frame(GOAWAY, 0, 0, struct.pack(">II", n, 0)))
    await s.photo(n, photo)


async def goaway_first_time(s, n, visit, photo):
    """The first connection says that it has not looked at the request."""
    if visit == 1:
        await s.send(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)))
        await asyncio.sleep(0.05)
        s.writer.close()
        return
    await s.photo(n, photo)


async def refused_first_time(s, n, visit, photo):
    if visit == 1:
        await s.send(frame(RST_STREAM, 0, n, struct.pack(">I", REFUSED_STREAM)))
        return
    await s.photo(n, photo)


async def reset_first_time(s, n, visit, photo):
    if visit == 1:
        await s.send(frame(RST_STREAM, 0, n, struct.pack(">I", CANCEL)))
        return
    await s.photo(n, photo)


async def closed_first_time(s, n, visit, photo):
    if visit == 1:
        s.writer.close()
        return
    await s.photo(n, photo)


async def rst_no_error_after_answer(s, n, visit, photo):
    await s.photo(n, photo)
    await s.send(frame(RST_STREAM, 0, n, struct.pack(">I", 0)))


async def hints_many(s, n, visit, photo):
    await s.send(headers(n, ("link", "</a.css>"), status="103") * 60)
    await s.photo(n, photo)


async def trailers_many(s, n, visit, photo):
    await s.send(headers(n, ("content-type", "image/jpeg")))
    await s.body(n, photo, end=False)
    encoded = header_block(*[(f"x-t{i}", "v" * 30) for i in range(50)])
    await s.send(frame(HEADERS, END_HEADERS | END_STREAM, n, encoded[len(header_block()):]))


async def head_with_priority(s, n, visit, photo):
    """Padded, and with a priority of its own."""
    block = header_block(("content-type", "image/jpeg"))
    await s.send(frame(HEADERS, END_HEADERS | PADDED | 0x20, n, b"\x20" + struct.pack(">IB", 0, 15) + block + bytes(32)))
    await s.body(n, photo)


async def settings_20(s, n, visit, photo):
    await s.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100)) * 20)
    await s.photo(n, photo)


async def unknown_settings(s, n, visit, photo):
    await s.send(frame(SETTINGS, 0, 0, struct.pack(">HIHIHI", 0x99, 7, 6, 2**32 - 1, 1, 2**20)))
    await s.photo(n, photo)


async def alternative_service(s, n, visit, photo):
    """Another place that the host may be asked at, by a frame and a header: nobody has to go there."""
    await s.send(frame(10, 0, n, b"\0\0h3=\"127.0.0.1:443\""))
    await s.photo(n, photo, ("alt-svc", 'h2="127.0.0.1:443"; ma=86400; persist=1'))


async def origins(s, n, visit, photo):
    await s.send(frame(12, 0, 0, struct.pack(">H", 18) + b"https://10.0.0.1:1"))
    await s.photo(n, photo)


async def goaway_in_the_body(s, n, visit, photo):
    await s.send(headers(n, ("content-length", str(len(photo)))))
    await s.body(n, photo[:3000], end=False)
    await s.send(frame(GOAWAY, 0, 0, struct.pack(">II", n, 0)))
    await s.body(n, photo[3000:])


async def windows_opened_wide(s, n, visit, photo):
    await s.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**30)) + frame(WINDOW_UPDATE, 0, n, struct.pack(">I", 2**30)))
    await s.photo(n, photo)


async def waits_2_s(s, n, visit, photo):
    await asyncio.sleep(2)
    await s.photo(n, photo)


for _serve in (plain, small_frames, padding, empty_frames_between, no_length, trailers, hints_first, continuation, unknown_frames, priorities, pings_20,
               settings_changed, gzip_label, headers_300, goaway_after_answer, goaway_before_answer, goaway_first_time, refused_first_time,
               reset_first_time, closed_first_time, rst_no_error_after_answer, waits_2_s, hints_many, trailers_many, head_with_priority, settings_20,
               unknown_settings, alternative_service, origins, goaway_in_the_body, windows_opened_wide):
    over(_serve.__name__, _serve)
over("frames_of_1_byte", frames_of_1_byte, rows=4)
over("padding_of_a_byte", padding_of_a_byte, rows=3)
over("one_host_40_rows", plain, rows=40, one_host=True)


async def opts_out(s, n, visit, photo):
    await s.photo(n, photo, ("x-robots-tag", "noai"))


async def not_found(s, n, visit, photo):
    await s.send(headers(n, status="404"))
    await s.body(n, photo)


async def to_loopback(s, n, visit, photo):
    await s.send(headers(n, ("location", "https://127.0.0.1/x.jpg"), status="302", end=True))


async def expired_settings(s, n, visit, photo):
    await s.send(headers(n, status="421", end=True))


over("opt_out", opts_out, keeps=False, taste=("opt_out",))
over("404", not_found, keeps=False, taste=("http_4xx",))
over("421", expired_settings, keeps=False, taste=("http_4xx",), rows=3)
over("redirect_to_loopback", to_loopback, keeps=False, taste=("blocked_address",))


async def resets(s, n, visit, photo):
    await s.send(frame(RST_STREAM, 0, n, struct.pack(">I", CANCEL)))


async def resets_in_body(s, n, visit, photo):
    await s.send(headers(n, ("content-length", str(len(photo)))) + frame(DATA, 0, n, photo[:2000]) + frame(RST_STREAM, 0, n, struct.pack(">I", CANCEL)))


async def refuses(s, n, visit, photo):
    await s.send(frame(RST_STREAM, 0, n, struct.pack(">I", REFUSED_STREAM)))


async def goes_away(s, n, visit, photo):
    await s.send(frame(GOAWAY, 0, 0, struct.pack(">II", 0, ENHANCE_YOUR_CALM)))
    s.writer.close()


def wants_http_1(name, answer_by):
    """Over HTTP/1.1 the photo comes."""
    @kind(f"http2/wants_http_1_{name}", rows=3, scheme="https")
    def make(row):
        async def page(session, stream, visit):
            await answer_by(session, stream)
        WEB.http2.setdefault(row.host, {})[row.target] = page
        row.page(answer(row.photo()))


async def reset_for_http_1(s, n):
    await s.send(frame(RST_STREAM, 0, n, struct.pack(">I", HTTP_1_1_REQUIRED)))


async def goaway_for_http_1(s, n):
    await s.send(frame(GOAWAY, 0, 0, struct.pack(">II", 0, HTTP_1_1_REQUIRED)))
    s.writer.close()


wants_http_1("by_reset", reset_for_http_1)
wants_http_1("by_goaway", goaway_for_http_1)


async def closes_in_body(s, n, visit, photo):
    await s.send(headers(n) + frame(DATA, 0, n, photo[:3000]))
    s.writer.close()


async def length_too_long(s, n, visit, photo):
    await s.send(headers(n, ("content-length", str(len(photo) + 100))))
    await s.body(n, photo)


async def length_too_short(s, n, visit, photo):
    await s.send(headers(n, ("content-length", "100")))
    await s.body(n, photo)


async def data_first(s, n, visit, photo):
    await s.send(data(n, photo[:1000]))


async def data_on_unknown_stream(s, n, visit, photo):
    await s.send(frame(DATA, 0, n + 100, b"x"))
    await asyncio.sleep(300)


async def no_status(s, n, visit, photo):
    encoded = header_block(("content-type", "image/jpeg"))[len(header_block()):]
    await s.send(frame(HEADERS, END_HEADERS, n, encoded))
    await s.body(n, photo)


async def bad_block(s, n, visit, photo):
    await s.send(frame(HEADERS, END_HEADERS, n, b"\xff\xff\xff\xff\xff\xff\xff"))
    await asyncio.sleep(300)


async def pushes(s, n, visit, photo):
    await s.send(frame(PUSH_PROMISE, END_HEADERS, n, struct.pack(">I", 2) + header_block()))
    await s.photo(n, photo)


async def frame_too_long(s, n, visit, photo):
    await s.send(headers(n) + struct.pack(">I", 1 << 23)[1:] + bytes([DATA, 0]) + struct.pack(">I", n) + bytes(1 << 20))
    await asyncio.sleep(300)


async def window_overrun(s, n, visit, photo):
    """More than the client's windows allow."""
    await s.send(headers(n))
    while True:
        await s.send(frame(DATA, 0, n, bytes(16_384)))


async def window_overflow(s, n, visit, photo):
    await s.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 1)) * 2)
    await asyncio.sleep(300)


async def padding_longer_than_frame(s, n, visit, photo):
    await s.send(headers(n) + frame(DATA, PADDED, n, b"\xffab"))
    await asyncio.sleep(300)


def with_fields(*fields, status="200"):
    async def serve(s, n, visit, photo):
        await s.photo(n, photo, *fields) if status == "200" else await s.send(headers(n, *fields, status=status) + data(n, photo))
    return serve


async def data_after_end(s, n, visit, photo):
    await s.photo(n, photo)
    await s.send(data(n, photo))


async def head_twice(s, n, visit, photo):
    await s.send(headers(n) + headers(n))
    await s.body(n, photo)


async def data_on_stream_0(s, n, visit, photo):
    await s.send(headers(n) + data(0, photo[:1000]))
    await asyncio.sleep(300)


async def head_without_end(s, n, visit, photo):
    """The list of headers goes on, but nothing comes."""
    await s.send(frame(HEADERS, 0, n, header_block()))
    await asyncio.sleep(300)


async def data_within_head(s, n, visit, photo):
    await s.send(frame(HEADERS, 0, n, header_block()) + data(n, photo[:1000]))
    await asyncio.sleep(300)


async def window_update_0(s, n, visit, photo):
    await s.send(headers(n) + frame(WINDOW_UPDATE, 0, 0, bytes(4)))
    await asyncio.sleep(300)


async def settings_of_5_bytes(s, n, visit, photo):
    await s.send(frame(SETTINGS, 0, 0, b"12345"))
    await asyncio.sleep(300)


async def settings_forbidden(s, n, visit, photo):
    """A first window above what there may be."""
    await s.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**32 - 1)))
    await asyncio.sleep(300)


async def ping_of_5_bytes(s, n, visit, photo):
    await s.send(frame(PING, 0, 0, b"12345"))
    await asyncio.sleep(300)


async def table_too_large(s, n, visit, photo):
    """The size of the table of headers is set above what was agreed."""
    await s.send(frame(HEADERS, END_HEADERS, n, b"\x3f\xe1\xff\x7f" + header_block()))
    await s.body(n, photo)


async def opens_streams(s, n, visit, photo):
    """Answers that nobody asked for."""
    await s.send(headers(n + 2) + headers(2))
    await asyncio.sleep(300)


async def http_1_answer(s, n, visit, photo):
    await s.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
    s.writer.close()


for _serve in (resets, resets_in_body, refuses, goes_away, closes_in_body, length_too_long, length_too_short, data_first,
               data_on_unknown_stream, no_status, bad_block, frame_too_long, window_overflow, padding_longer_than_frame, http_1_answer):
    over(_serve.__name__, _serve, keeps=False, rows=3)
for _serve in (data_on_stream_0, head_without_end, data_within_head, window_update_0, settings_of_5_bytes, settings_forbidden, ping_of_5_bytes,
               table_too_large, opens_streams):
    over(_serve.__name__, _serve, keeps=False, rows=2)
for _name, _serve in {
    "connection_header": with_fields(("connection", "keep-alive")),
    "transfer_encoding_header": with_fields(("transfer-encoding", "chunked")),
    "capital_header": with_fields(("X-Capital", "a")),
    "empty_header_name": with_fields(("", "a")),
    "line_break_in_header": with_fields(("x-a", "b\r\nx-robots-tag: none")),
    "two_lengths": with_fields(("content-length", "7")),
    "status_999": with_fields(status="999"),
    "status_of_letters": with_fields(status="abc"),
    "status_204_with_body": with_fields(status="204"),
    "data_after_end": data_after_end,
    "head_twice": head_twice,
}.items():
    over(_name, _serve, taste=(*BAD, "http_5xx"), rows=2)
over("pushes", pushes, taste=BAD, rows=3)
over("window_overrun", window_overrun, keeps=False, rows=2)


async def never(s, n, visit, photo):
    await asyncio.sleep(300)


async def head_then_never(s, n, visit, photo):
    await s.send(headers(n))
    await asyncio.sleep(300)


async def drips(s, n, visit, photo):
    await s.send(headers(n))
    while True:
        await s.send(frame(DATA, 0, n, b"x"))
        await asyncio.sleep(0.25)


def flood(piece, start=lambda n: b""):
    async def serve(s, n, visit, photo):
        await s.send(start(n))
        block = piece(n) * max(1, 50_000 // len(piece(n)))
        while True:
            await s.send(block)
    return serve


for _serve in (never, head_then_never, drips):
    over(_serve.__name__, _serve, keeps=False, rows=3)
FLOODS = {
    "settings": flood(lambda n: frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100))),
    "ping": flood(lambda n: frame(PING, 0, 0, b"abcdefgh")),
    "continuation": flood(lambda n: frame(CONTINUATION, 0, n, b""), lambda n: frame(HEADERS, 0, n, header_block())),
    "continuation_full": flood(lambda n: frame(CONTINUATION, 0, n, b"\0\x03x-a\x7f\x00" + b"v" * 127), lambda n: frame(HEADERS, 0, n, header_block())),
    "empty_data": flood(lambda n: frame(DATA, 0, n), headers),
    "window_update": flood(lambda n: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1))),
    "priority": flood(lambda n: frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 1))),
    "reset": flood(lambda n: frame(RST_STREAM, 0, n, struct.pack(">I", CANCEL))),
    "goaway": flood(lambda n: frame(GOAWAY, 0, 0, struct.pack(">II", 2**31 - 1, 0))),
    "trailers": flood(lambda n: headers(n, ("x-a", "b")), headers),
    "pushes": flood(lambda n: frame(PUSH_PROMISE, END_HEADERS, n, struct.pack(">I", 2) + header_block())),
    "padding": flood(lambda n: frame(DATA, PADDED, n, b"\xfa" + bytes(250)), headers),
    "alternative_services": flood(lambda n: frame(10, 0, n, b"\0\0clear")),
    "acknowledgements": flood(lambda n: frame(PING, 1, 0, b"abcdefgh")),
    "hints": flood(lambda n: headers(n, ("link", "x"), status="103")),
    "unknown": flood(lambda n: frame(0x77, 0, 0, b"x" * 100)),
    "header_list": flood(lambda n: frame(CONTINUATION, 0, n, b"\x40\x01a\x7f\x81\x1f" + b"v" * 4000), lambda n: frame(HEADERS, 0, n, header_block())),
}
for _name, _serve in FLOODS.items():
    over(f"flood_of_{_name}", _serve, keeps=False, rows=2)


async def header_bomb(s, n, visit, photo):
    """One long header in the dynamic table, named thousands of times."""
    block = header_block() + b"\x40\x04bomb\x7f\x81\x1e" + b"v" * 4000
    await s.send(frame(HEADERS, END_HEADERS, n, block + b"\xbe" * 12_000))
    await s.body(n, photo)


over("header_bomb", header_bomb, keeps=False, rows=3)
