"""Heads: rude ones that a browser forgives, and broken ones."""
import asyncio

from ..answers import Keep, answer, chunks, head, redirect
from ..kind import BROKEN, kind

BAD = (*BROKEN, "too_large", "timeout")


def kept(name, write, rows=6, taste=()):
    """A head written by `write(length)`; after it the photo, then the server closes."""
    @kind(f"heads/{name}", rows=rows)
    def make(row):
        body = row.photo()
        row.page(write(len(body)) + body)
        if taste:
            row.drop(*taste)


def lines(*before, end=b"\r\n", status=b"HTTP/1.1 200 OK", after=()):
    """Head lines with `Content-Length` between `before` and `after`."""
    def write(length):
        all_lines = [status, *before, b"Content-Length: %d" % length, *after]
        return end.join(all_lines) + end + end
    return write


def many(count, size=10):
    return [b"X-H%d: %s" % (i, b"v" * size) for i in range(count)]


kept("folded", lines(b"X-Long: one", b" two", b"\tthree"))
kept("folded_first", lines(b" folded: first"), taste=BAD)
kept("folded_type", lines(b"Content-Type:", b" image/jpeg"))
kept("no_colon", lines(b"this line has none", b"X-A: b"))
kept("no_colon_last", lines(after=[b"no colon here"]))
kept("empty_name", lines(b": value"))
kept("empty_value", lines(b"X-Empty:", b"X-Blank:   "))
kept("bare_lf", lines(b"X-A: b", end=b"\n"))
kept("mixed_line_ends", lambda n: b"HTTP/1.1 200 OK\r\nX-A: b\nContent-Length: %d\r\n\n" % n)
kept("bare_cr", lines(b"X-A: b\rX-B: c"), rows=3, taste=BAD)
kept("blank_before_colon", lines(b"X-A : b", b"Content-Type : image/jpeg"))
kept("blank_in_name", lines(b"X A: b"))
kept("strange_name", lines(b"X-(A)[B]{C}: d", b"@x: y", b"\"q\": r"))
kept("high_bytes_in_value", lines(b"X-A: \xfc\xe4\xf6 \xff", "X-B: \u732b".encode()))
kept("high_bytes_in_name", lines(b"X-\xfc: b"))
kept("control_in_value", lines(b"X-A: a\x01b\x7fc"), taste=BAD)
kept("nul_in_value", lines(b"X-A: a\0b"), taste=BAD)
kept("headers_101", lines(*many(101)))
kept("headers_500", lines(*many(500)))
kept("headers_2000", lines(*many(2000)))
kept("header_of_8_kb", lines(*many(1, 8_000)))
kept("header_of_30_kb", lines(*many(1, 30_000)))
kept("header_of_200_kb", lines(*many(1, 200_000)), rows=3, taste=BAD)
kept("cookies_200", lines(*[b"Set-Cookie: c%d=%s" % (i, b"v" * 60) for i in range(200)]))
kept("no_reason", lines(status=b"HTTP/1.1 200"))
kept("empty_reason", lines(status=b"HTTP/1.1 200 "))
kept("utf8_reason", lines(status="HTTP/1.1 200 Sch\u00f6n".encode()))
kept("latin1_reason", lines(status=b"HTTP/1.1 200 Sch\xf6n"))
kept("long_reason", lines(status=b"HTTP/1.1 200 " + b"very " * 200 + b"OK"))
kept("two_blanks_in_status", lines(status=b"HTTP/1.1  200 OK"), taste=BAD)
kept("http_1_0", lines(status=b"HTTP/1.0 200 OK"))
kept("http_1_2", lines(status=b"HTTP/1.2 200 OK"), rows=3, taste=BAD)
kept("http_2_0_text", lines(status=b"HTTP/2.0 200 OK"), rows=3, taste=BAD)
kept("http_lower_case", lines(status=b"http/1.1 200 ok"), rows=3, taste=BAD)
kept("icy", lines(status=b"ICY 200 OK"), rows=3, taste=BAD)
kept("no_version", lines(status=b"200 OK"), rows=3, taste=BAD)
kept("blank_line_first", lambda n: b"\r\n" + lines()(n), rows=3, taste=BAD)
kept("garbage_first", lambda n: b"garbage\r\n" + lines()(n), rows=3, taste=BAD)
kept("byte_order_mark", lambda n: b"\xef\xbb\xbf" + lines()(n), rows=3, taste=BAD)
kept("length_twice", lambda n: head(f"Content-Length: {n}", f"Content-Length: {n}"))
kept("length_list", lambda n: head(f"Content-Length: {n}, {n}"), rows=4, taste=BAD)
kept("length_zeros", lambda n: head(f"Content-Length: 000{n}"))
kept("length_blanks", lambda n: head(f"Content-Length:    {n}   "))
kept("length_tab", lambda n: head(f"Content-Length:\t{n}"))
kept("length_lower_case", lambda n: head(f"content-length: {n}", "content-type: image/jpeg"))
kept("length_capitals", lambda n: head(f"CONTENT-LENGTH: {n}", "CONTENT-TYPE: IMAGE/JPEG"))
kept("length_plus", lambda n: head(f"Content-Length: +{n}"), rows=3, taste=BAD)
kept("length_words", lambda n: head("Content-Length: many"), rows=3, taste=BAD)
kept("length_empty", lambda n: head("Content-Length:"), rows=3, taste=BAD)
kept("length_huge", lambda n: head("Content-Length: 99999999999999999999999"), rows=3, taste=BAD)
kept("length_negative", lambda n: head("Content-Length: -1"), rows=3, taste=BAD)
kept("length_hex", lambda n: head(f"Content-Length: {n:#x}"), rows=3, taste=BAD)
kept("length_decimal_point", lambda n: head(f"Content-Length: {n}.0"), rows=3, taste=BAD)
kept("no_length", lambda n: head("Content-Type: image/jpeg"))
kept("no_headers", lambda n: b"HTTP/1.1 200 OK\r\n\r\n")
kept("no_headers_1_0", lambda n: b"HTTP/1.0 200 OK\r\n\r\n")
kept("type_missing", lambda n: head(f"Content-Length: {n}"))
kept("type_html", lambda n: head(f"Content-Length: {n}", "Content-Type: text/html; charset=utf-8"))
kept("type_octets", lambda n: head(f"Content-Length: {n}", "Content-Type: application/octet-stream"))
kept("type_png", lambda n: head(f"Content-Length: {n}", "Content-Type: image/png"))
kept("type_nonsense", lambda n: head(f"Content-Length: {n}", "Content-Type: ;;;///"))
kept("type_twice", lambda n: head(f"Content-Length: {n}", "Content-Type: text/plain", "Content-Type: image/jpeg"))
kept("attachment", lambda n: head(f"Content-Length: {n}", 'Content-Disposition: attachment; filename="../../etc/passwd"'))
kept("connection_nonsense", lambda n: head(f"Content-Length: {n}", "Connection: what, ever"))
kept("keep_alive_lie", lambda n: head(f"Content-Length: {n}", "Connection: keep-alive", "Keep-Alive: timeout=600"))
kept("upgrade_header", lambda n: head(f"Content-Length: {n}", "Upgrade: h2c", "Connection: Upgrade"))
kept("trailer_announced", lambda n: head(f"Content-Length: {n}", "Trailer: X-Sum"))
kept("range_on_200", lambda n: head(f"Content-Length: {n}", f"Content-Range: bytes 0-{n - 1}/{n}", "Accept-Ranges: bytes"))
kept("date_nonsense", lambda n: head(f"Content-Length: {n}", "Date: yesterday", "Last-Modified: 0", "Age: -1", "Expires: -1"))
kept("alt_svc", lambda n: head(f"Content-Length: {n}", 'Alt-Svc: h3=":443"; ma=86400, h2="127.0.0.1:443"'))
kept("strict_transport", lambda n: head(f"Content-Length: {n}", "Strict-Transport-Security: max-age=1; includeSubDomains"))
kept("body_longer_than_said", lambda n: head(f"Content-Length: {n}"))


@kind("heads/bytes_after_body")
def bytes_after_body(row):
    row.page(answer(row.photo()) + b"and more " * 100)


@kind("heads/lengths_differ", rows=4)
def lengths_differ(row):
    body = row.photo()
    row.page(head(f"Content-Length: {len(body)}", f"Content-Length: {len(body) // 2}") + body)
    row.drop(*BAD, "corrupt")


@kind("heads/length_too_short", rows=5)
def length_too_short(row):
    body = row.jpeg()
    row.page(head(f"Content-Length: {len(body) * (row.number + 1) // 8}") + body)
    row.drop("corrupt", *BROKEN)


@kind("heads/length_too_long", rows=5)
def length_too_long(row):
    body = row.jpeg()
    row.page(head(f"Content-Length: {len(body) + 1000}") + body)
    row.drop("corrupt", *BROKEN)


@kind("heads/length_too_long_open", rows=3)
def length_too_long_open(row):
    async def page(exchange):
        body = row.jpeg()
        await exchange.send(head(f"Content-Length: {len(body) + 1000}") + body)
        await asyncio.sleep(60)
    row.page(page)
    row.drop("timeout")


@kind("heads/length_10_gb", rows=4)
def length_10_gb(row):
    row.page(head("Content-Length: 10000000000") + row.jpeg())
    row.drop("too_large")


@kind("heads/length_0", rows=4)
def length_0(row):
    row.page(Keep(head("Content-Length: 0", "Content-Type: image/jpeg")))
    row.drop("not_an_image", "corrupt")


@kind("heads/http_0_9", rows=4)
def http_0_9(row):
    row.page(row.jpeg())
    row.drop(*BROKEN)


@kind("heads/page_without_head", rows=3)
def page_without_head(row):
    row.page(b"<html><body>Welcome</body></html>")
    row.drop(*BROKEN)


@kind("heads/ssh_banner", rows=3)
def ssh_banner(row):
    row.page(b"SSH-2.0-OpenSSH_9.2\r\n")
    row.drop(*BROKEN)


@kind("heads/random_bytes", rows=4)
def random_bytes(row):
    row.page(bytes((i * 197 + row.number) % 256 for i in range(5000)))
    row.drop(*BAD)


@kind("heads/nothing_but_nul", rows=3)
def nothing_but_nul(row):
    row.page(bytes(100_000))
    row.drop(*BAD)


STATUS_LINES = [b"HTTP/1.1 OK", b"HTTP/1.1 2OO OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 -200 OK", b"HTTP/1.1", b"HTTP", b"HTTP/x.y 200 OK", b"HTTPS/1.1 200 OK"]


@kind("heads/broken_status_line", rows=len(STATUS_LINES))
def broken_status_line(row):
    body = row.photo()
    row.page(lines(status=STATUS_LINES[row.number])(len(body)) + body)
    row.drop(*BAD, "http_4xx", "http_5xx")


@kind("heads/endless_header", rows=3)
def endless_header(row):
    async def page(exchange):
        await exchange.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            await exchange.send(b"x" * 65536)
    row.page(page)
    row.drop(*BAD)


@kind("heads/endless_headers", rows=3)
def endless_headers(row):
    async def page(exchange):
        await exchange.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await exchange.send(b"X-Header: value\r\n" * 1000)
    row.page(page)
    row.drop(*BAD)


@kind("heads/endless_status_line", rows=3)
def endless_status_line(row):
    async def page(exchange):
        await exchange.send(b"HTTP/1.1 200 ")
        while True:
            await exchange.send(b"OK " * 20000)
    row.page(page)
    row.drop(*BAD)


@kind("heads/endless_blank_lines", rows=3)
def endless_blank_lines(row):
    async def page(exchange):
        while True:
            await exchange.send(b"\r\n" * 20000)
    row.page(page)
    row.drop(*BAD)


def informational(name, text, rows=6, taste=()):
    @kind(f"heads/{name}", rows=rows)
    def make(row):
        row.page(Keep(text + answer(row.photo())))
        if taste:
            row.drop(*taste)


HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
informational("continue_first", b"HTTP/1.1 100 Continue\r\n\r\n")
informational("processing_first", b"HTTP/1.1 102 Processing\r\n\r\n")
informational("hint_first", HINT)
informational("hints_10", HINT * 10)
informational("hints_100", HINT * 100)
informational("hints_mixed", HINT + b"HTTP/1.1 100 Continue\r\n\r\n" + HINT)
informational("code_199_first", b"HTTP/1.1 199 What\r\n\r\n", rows=3, taste=BAD)
informational("hint_with_length", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n", rows=3, taste=BAD)
informational("hint_with_opt_out", b"HTTP/1.1 103 Early Hints\r\nX-Robots-Tag: noai\r\n\r\n", rows=3, taste=("opt_out",))
informational("hint_bare_lf", b"HTTP/1.1 103 Early Hints\nLink: </a>\n\n", rows=4)


@kind("heads/endless_hints", rows=3)
def endless_hints(row):
    async def page(exchange):
        while True:
            await exchange.send(HINT * 500)
    row.page(page)
    row.drop(*BAD)


@kind("heads/endless_continues", rows=3)
def endless_continues(row):
    async def page(exchange):
        while True:
            await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 2000)
    row.page(page)
    row.drop(*BAD)


@kind("heads/slow_hints", rows=2)
def slow_hints(row):
    async def page(exchange):
        while True:
            await exchange.send(HINT)
            await asyncio.sleep(0.3)
    row.page(page)
    row.drop(*BAD)


@kind("heads/hints_then_close", rows=3)
def hints_then_close(row):
    row.page(HINT * 3)
    row.drop(*BROKEN)


@kind("heads/hint_then_redirect", rows=4)
def hint_then_redirect(row):
    row.page(Keep(HINT + redirect("/goal.jpg")))
    row.page(answer(row.photo()), target="/goal.jpg")


@kind("heads/switching_protocols", rows=3)
def switching_protocols(row):
    row.page(head("Upgrade: websocket", "Connection: Upgrade", status="101 Switching Protocols") + row.jpeg())
    row.drop(*BAD)


@kind("heads/two_answers")
def two_answers(row):
    row.page(answer(row.photo()) + answer(b"an answer that nobody asked for", status="404 Not Found"))


@kind("heads/chunked_and_length")
def chunked_and_length(row):
    body = row.photo()
    row.page(head(f"Content-Length: {len(body)}", "Transfer-Encoding: chunked") + chunks(body))


@kind("heads/chunked_and_wrong_length", rows=4)
def chunked_and_wrong_length(row):
    body = row.photo()
    row.page(head("Transfer-Encoding: chunked", "Content-Length: 5") + chunks(body))
    row.drop(*BAD)
