"""Status codes, answers that ask for patience, and hosts that want to be asked seldom."""
import asyncio
import email.utils
import time

from ..answers import Keep, answer, head
from ..kind import kind

GOOD = (200, 201, 202, 203, 218, 226, 299)
EMPTY = (204, 205)
CLIENT = (*range(400, 419), 420, 421, 422, 423, 424, 425, 426, 428, 429, 430, 431, 440, 444, 451, 460, 494, 499)
SERVER = (500, 501, 502, 503, 504, 505, 506, 507, 508, 509, 510, 511, 520, 521, 522, 523, 524, 525, 526, 527, 530, 599)


@kind("status/good", rows=len(GOOD))
def good(row):
    row.page(answer(row.photo(), status=f"{GOOD[row.number]} Fine"))


@kind("status/empty", rows=4)
def empty(row):
    """Without a length: who reads the body of a 205 until the connection ends, waits."""
    row.page(Keep(head(status=f"{EMPTY[row.number % 2]} Nothing")))
    row.drop("not_an_image", "bad_response", "corrupt", "timeout")


@kind("status/partial_whole", rows=3)
def partial_whole(row):
    body = row.photo()
    row.page(answer(body, f"Content-Range: bytes 0-{len(body) - 1}/{len(body)}", status="206 Partial Content"))
    row.drop("bad_response", "corrupt")


@kind("status/partial_half", rows=3)
def partial_half(row):
    body = row.jpeg()
    row.page(answer(body[:len(body) // 2], f"Content-Range: bytes 0-{len(body) // 2 - 1}/{len(body)}", status="206 Partial Content"))
    row.drop("corrupt", "bad_response")


@kind("status/4xx_with_photo", rows=len(CLIENT))
def client_error(row):
    row.page(answer(row.jpeg(), status=f"{CLIENT[row.number]} No"))
    row.drop("http_4xx")


@kind("status/4xx_with_page", rows=7)
def client_error_page(row):
    row.page(answer(b"<html>no</html>", status=f"{CLIENT[row.number * 3]} No", kind="text/html"))
    row.drop("http_4xx")


@kind("status/5xx_with_photo", rows=len(SERVER))
def server_error(row):
    row.page(answer(row.jpeg(), status=f"{SERVER[row.number]} No"))
    row.drop("http_5xx")


@kind("status/above_599", rows=5)
def above_599(row):
    row.page(answer(row.jpeg(), status=f"{(600, 666, 700, 799, 999)[row.number]} No"))
    row.drop("http_5xx", "http_4xx", "bad_response")


@kind("status/below_200", rows=3)
def below_200(row):
    row.page(answer(row.jpeg(), status=f"{(0, 1, 99)[row.number]:03} No"))
    row.drop("http_5xx", "http_4xx", "bad_response")


@kind("status/401_asks_for_password", rows=4)
def asks_for_password(row):
    row.page(answer(b"", 'WWW-Authenticate: Basic realm="x"', status="401 Unauthorized"))
    row.drop("http_4xx")


@kind("status/407_asks_for_password", rows=3)
def proxy_asks_for_password(row):
    row.page(answer(b"", 'Proxy-Authenticate: Basic realm="x"', status="407 Proxy Authentication Required"))
    row.drop("http_4xx")


@kind("status/404_that_never_ends", rows=3)
def error_that_never_ends(row):
    async def page(exchange):
        await exchange.send(head("Transfer-Encoding: chunked", status="404 Not Found"))
        while True:
            await exchange.send(b"5\r\nxxxxx\r\n")
            await asyncio.sleep(0.1)
    row.page(page)
    row.drop("http_4xx")


def then_photo(name, status, *headers, rows=6, wait=0.0, taste=()):
    """The first request gets `status`, the next one the photo; `wait`: the seconds asked for."""
    @kind(f"again/{name}", rows=rows)
    def make(row):
        whole = answer(row.photo())

        async def page(exchange):
            if exchange.visit == 1:
                shown = [h() if callable(h) else h for h in headers]
                exchange.connection.server.refuse(exchange, wait)
                await exchange.send(answer(b"later", *shown, status=status))
            else:
                await exchange.send(whole)
            return True
        row.page(page)
        if taste:
            row.drop(*taste)


def in_seconds(seconds):
    return lambda: "Retry-After: " + email.utils.formatdate(time.time() + seconds, usegmt=True)


then_photo("503", "503 Service Unavailable")
then_photo("500", "500 Internal Server Error")
then_photo("502", "502 Bad Gateway")
then_photo("504", "504 Gateway Timeout")
then_photo("520", "520 Unknown")
then_photo("429", "429 Too Many Requests")
then_photo("408", "408 Request Timeout")
then_photo("425", "425 Too Early")
then_photo("429_retry_after_1", "429 Too Many Requests", "Retry-After: 1", wait=1)
then_photo("429_retry_after_3", "429 Too Many Requests", "Retry-After: 3", wait=3)
then_photo("503_retry_after_2", "503 Service Unavailable", "Retry-After: 2", wait=2)
then_photo("503_retry_after_0", "503 Service Unavailable", "Retry-After: 0")
then_photo("503_retry_after_date", "503 Service Unavailable", in_seconds(3), wait=1.9)
then_photo("503_retry_after_past", "503 Service Unavailable", in_seconds(-1000))
then_photo("503_retry_after_blanks", "503 Service Unavailable", "Retry-After:   1  ", wait=1)
then_photo("503_retry_after_nonsense", "503 Service Unavailable", "Retry-After: soon")
then_photo("503_retry_after_negative", "503 Service Unavailable", "Retry-After: -5")
then_photo("503_retry_after_fraction", "503 Service Unavailable", "Retry-After: 1.5", rows=3)
then_photo("503_retry_after_empty", "503 Service Unavailable", "Retry-After:")
then_photo("503_retry_after_twice", "503 Service Unavailable", "Retry-After: 1", "Retry-After: 2", wait=1)
then_photo("503_retry_after_year_9999", "503 Service Unavailable", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", rows=3, wait=600, taste=("http_5xx",))
then_photo("429_retry_after_day", "429 Too Many Requests", "Retry-After: 86400", rows=3, wait=600, taste=("http_4xx",))
then_photo("503_retry_after_huge", "503 Service Unavailable", "Retry-After: 99999999999999999999", rows=3, taste=("http_5xx",))
then_photo("404_then_photo", "404 Not Found", rows=3, taste=("http_4xx",))


@kind("again/twice_503", rows=6)
def twice_503(row):
    whole = answer(row.photo())

    async def page(exchange):
        await exchange.send(whole if exchange.visit > 2 else answer(b"", status="503 Service Unavailable"))
        return True
    row.page(page)


@kind("again/for_ever_503_retry_after_1", rows=4)
def for_ever_503(row):
    async def page(exchange):
        exchange.connection.server.refuse(exchange, 1)
        await exchange.send(answer(b"", "Retry-After: 1", status="503 Service Unavailable"))
        return True
    row.page(page)
    row.drop("http_5xx")


@kind("again/for_ever_429", rows=4)
def for_ever_429(row):
    row.page(answer(b"", status="429 Too Many Requests"))
    row.drop("http_4xx")


@kind("again/every_third_503", rows=30, one_host=True)
def every_third_503(row):
    whole = answer(row.photo())

    async def page(exchange):
        busy = exchange.visit == 1 and row.number % 3 == 0
        await exchange.send(answer(b"", status="503 Service Unavailable") if busy else whole)
        return True
    row.page(page)


@kind("polite/one_host_250_rows", rows=250, one_host=True)
def one_host(row):
    whole = answer(row.photo())

    async def page(exchange):
        await asyncio.sleep(0.03)
        await exchange.send(whole)
        return True
    row.page(page)


@kind("polite/one_host_closing_60_rows", rows=60, one_host=True)
def one_host_closing(row):
    whole = answer(row.photo(), "Connection: close")

    async def page(exchange):
        await asyncio.sleep(0.05)
        await exchange.send(whole)
        return False
    row.page(page)


@kind("polite/redirects_to_one_host", rows=60)
def redirects_to_one_host(row):
    from ..answers import redirect
    from ..kind import DOMAIN
    goal = f"polite-goal.{DOMAIN}"
    whole = answer(row.photo())

    async def page(exchange):
        await asyncio.sleep(0.03)
        await exchange.send(whole)
        return True
    row.page(redirect(row.at(host=goal)))
    row.page(page, host=goal)


@kind("polite/503_crowd", rows=30, one_host=True)
def crowd(row):
    """A host that serves five at once and answers 503 to others."""
    whole = answer(row.photo())

    async def page(exchange):
        if exchange.connection.server.counts.under_way[exchange.host] > 12:
            await exchange.send(answer(b"", status="503 Service Unavailable"))
            return True
        await asyncio.sleep(0.05)
        await exchange.send(whole)
        return True
    row.page(page)
