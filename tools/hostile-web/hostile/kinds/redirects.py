"""Redirects as a browser follows them, and those that lead nowhere good."""
import asyncio

from ..answers import Keep, answer, head, redirect
from ..kind import ANY, kind

BROKEN_HOP = ("bad_response", "bad_url", "too_many_redirects", "not_an_image", "http_4xx")


def leads(name, write, status="302 Found", rows=7, taste=()):
    """A kind whose Location is written by `write(row)`, and its page at `row.goal`."""
    @kind(f"redirects/{name}", rows=rows)
    def make(row):
        row.goal = f"/goal{row.number}.jpg"
        location = write(row)
        row.page(redirect(location, status))
        row.page(answer(row.photo()), target=row.goal)
        if taste:
            row.drop(*taste)


for _status in ("301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"):
    leads(f"code_{_status[:3]}", lambda r: r.at(r.goal), _status)
for _status in ("300 Multiple Choices", "305 Use Proxy", "306 Unused", "309 What", "399 What"):
    leads(f"code_{_status[:3]}", lambda r: r.at(r.goal), _status, rows=3, taste=BROKEN_HOP)


def goal(row, target):
    row.goal = target
    return target


leads("absolute_path", lambda r: r.goal)
leads("relative", lambda r: r.goal[1:])
leads("parent", lambda r: "../x/.." + r.goal)
leads("scheme_less", lambda r: f"//{r.host}{r.goal}")
leads("query_only", lambda r: "?v=2" if goal(r, f"/{r.number}.jpg?v=2") else "")
leads("fragment", lambda r: r.goal + "#frag")
leads("capital_scheme", lambda r: "HTTP://" + r.host + r.goal)
leads("capital_host", lambda r: "http://" + r.host.upper() + r.goal)
leads("port_80", lambda r: f"http://{r.host}:80{r.goal}")
leads("port_8080", lambda r: f"http://{r.host}:8080{r.goal}")
leads("space", lambda r: "/with space.jpg" if goal(r, "/with%20space.jpg") else "")
leads("space_around", lambda r: f"   {r.goal}  ")
leads("umlaut", lambda r: "/\u00fcber.jpg".encode() if goal(r, "/%C3%BCber.jpg") else "")
leads("umlaut_absolute", lambda r: f"http://{r.host}/\u00fcber.jpg".encode() if goal(r, "/%C3%BCber.jpg") else "")
leads("cjk", lambda r: "/\u732b.jpg?\u5199".encode() if goal(r, "/%E7%8C%AB.jpg?%E5%86%99") else "")
leads("latin1", lambda r: b"/\xfcber.jpg" if goal(r, "/%FCber.jpg") else b"", taste=("bad_response", "http_4xx", "bad_url"))
leads("backslash", lambda r: "\\" + r.goal[1:])
leads("quotes", lambda r: '/a"b.jpg' if goal(r, "/a%22b.jpg") else "")
leads("pipe", lambda r: "/a|b.jpg" if goal(r, "/a|b.jpg") else "")
leads("bad_escape", lambda r: "/100%.jpg" if goal(r, "/100%.jpg") else "")
leads("tab_inside", lambda r: "/ta\tb.jpg" if goal(r, "/tab.jpg") else "")
leads("long", lambda r: "/" + "x" * 4000 if goal(r, "/" + "x" * 4000) else "")
leads("entity", lambda r: "/e.jpg?a=1&amp;b=2" if goal(r, "/e.jpg?a=1&b=2") else "", rows=3, taste=("http_4xx",))
leads("userinfo", lambda r: f"http://user:secret@{r.host}{r.goal}", taste=("bad_url", "bad_response"))


@kind("redirects/other_host")
def other_host(row):
    row.page(redirect(row.at(host=row.other_host())))
    row.page(answer(row.photo()), host=row.other_host())


@kind("redirects/to_https")
def to_https(row):
    row.page(redirect(row.at("/tls.jpg", scheme="https")))
    row.page(answer(row.photo()), target="/tls.jpg")


@kind("redirects/from_https", scheme="https")
def from_https(row):
    row.page(redirect(row.at("/plain.jpg", scheme="http")))
    row.page(answer(row.photo()), target="/plain.jpg")


@kind("redirects/hops_5")
def hops_5(row):
    for hop in range(5):
        row.page(redirect(f"/hop{hop + 1}.jpg"), target=row.target if hop == 0 else f"/hop{hop}.jpg")
    row.page(answer(row.photo()), target="/hop5.jpg")


@kind("redirects/hops_30", rows=5)
def hops_30(row):
    for hop in range(30):
        row.page(redirect(f"/hop{hop + 1}.jpg"), target=row.target if hop == 0 else f"/hop{hop}.jpg")
    row.page(answer(row.jpeg()), target="/hop30.jpg")
    row.drop("too_many_redirects")


@kind("redirects/loop", rows=5)
def loop(row):
    row.page(redirect(row.target))
    row.drop("too_many_redirects")


@kind("redirects/loop_of_two", rows=5)
def loop_of_two(row):
    row.page(redirect(row.at(host=row.other_host())))
    row.page(redirect(row.at()), host=row.other_host())
    row.drop("too_many_redirects")


@kind("redirects/endless", rows=5)
def endless(row):
    """Each hop is a new one."""
    async def page(exchange):
        await exchange.send(redirect("/on" + exchange.target))
        return True
    row.page(page, target=ANY)
    row.drop("too_many_redirects")


@kind("redirects/no_location", rows=5)
def no_location(row):
    row.page(Keep(head("Content-Length: 0", status="302 Found")))
    row.drop(*BROKEN_HOP)


@kind("redirects/no_location_photo", rows=3)
def no_location_photo(row):
    row.page(answer(row.jpeg(), status="302 Found"))
    row.drop(*BROKEN_HOP)


@kind("redirects/empty_location", rows=3)
def empty_location(row):
    row.page(redirect(""))
    row.drop(*BROKEN_HOP)


@kind("redirects/not_modified", rows=4)
def not_modified(row):
    row.page(Keep(head("Content-Length: 0", status="304 Not Modified")))
    row.drop(*BROKEN_HOP)


@kind("redirects/not_modified_location", rows=3)
def not_modified_location(row):
    row.page(Keep(head("Location: /goal.jpg", status="304 Not Modified")))
    row.page(answer(row.jpeg()), target="/goal.jpg")
    row.drop(*BROKEN_HOP)


@kind("redirects/same_location_twice")
def same_location_twice(row):
    row.page(redirect("/goal.jpg", "302 Found", "Location: /goal.jpg"))
    row.page(answer(row.photo()), target="/goal.jpg")


@kind("redirects/two_locations", rows=3)
def two_locations(row):
    row.page(redirect("/goal.jpg", "302 Found", "Location: /elsewhere.jpg"))
    row.page(answer(row.photo()), target="/goal.jpg")
    row.drop(*BROKEN_HOP)


@kind("redirects/body_of_1_mb", rows=4)
def body_of_1_mb(row):
    row.page(head("Location: /goal.jpg", "Content-Length: 1000000", status="302 Found") + b"x" * 1_000_000)
    row.page(answer(row.photo()), target="/goal.jpg")


@kind("redirects/endless_body", rows=4)
def endless_body(row):
    async def page(exchange):
        await exchange.send(head("Location: /goal.jpg", "Transfer-Encoding: chunked", status="302 Found"))
        while True:
            await exchange.send(b"5\r\nxxxxx\r\n")
            await asyncio.sleep(0.1)
    row.page(page)
    row.page(answer(row.photo()), target="/goal.jpg")


@kind("redirects/no_length_open", rows=4)
def no_length_open(row):
    async def page(exchange):
        await exchange.send(head("Location: /goal.jpg", status="302 Found"))
        await asyncio.sleep(60)
    row.page(page)
    row.page(answer(row.photo()), target="/goal.jpg")


@kind("redirects/location_on_200")
def location_on_200(row):
    row.page(answer(row.photo(), "Location: http://127.0.0.1/x.jpg"))


@kind("redirects/refresh_header")
def refresh_header(row):
    row.page(answer(row.photo(), "Refresh: 0; url=http://127.0.0.1/x.jpg"))


@kind("redirects/meta_refresh", rows=3)
def meta_refresh(row):
    row.page(answer(b'<meta http-equiv="refresh" content="0;url=http://127.0.0.1/x.jpg">', kind="text/html"))
    row.drop("not_an_image")


FORBIDDEN = ["ftp://{h}/x.jpg", "file:///etc/passwd", "data:image/png;base64,iVBORw0KGgo=", "javascript:alert(1)", "gopher://127.0.0.1:6379/_x",
             "http://", "http://{h}:99999/x", "http://[::1/x", "mailto:x@y.example", "about:blank", "ws://{h}/x"]


@kind("redirects/no_web_url", rows=len(FORBIDDEN))
def no_web_url(row):
    row.page(redirect(FORBIDDEN[row.number].format(h=row.host)))
    # An address is meant by some, if not written well.
    row.drop("bad_url", "bad_response", "blocked_address")


@kind("redirects/to_closed_port", rows=3)
def to_closed_port(row):
    row.page(redirect(f"http://{row.host}:{(1, 9, 4443)[row.number]}/x.jpg"))
    row.drop("connect")


@kind("redirects/to_unknown_host", rows=3)
def to_unknown_host(row):
    row.page(redirect(f"http://nobody{row.number}.example/x.jpg"))
    row.drop("dns")


@kind("redirects/to_404", rows=3)
def to_404(row):
    row.page(redirect("/gone.jpg"))
    row.drop("http_4xx")


@kind("redirects/opt_out_on_the_way", rows=3)
def opt_out_on_the_way(row):
    row.page(redirect("/goal.jpg", "302 Found", "X-Robots-Tag: noai"))
    row.page(answer(row.photo()), target="/goal.jpg")
    row.drop("opt_out")


@kind("redirects/retry_then_moves", rows=3)
def retry_then_moves(row):
    async def page(exchange):
        busy = answer(b"", status="503 Service Unavailable")
        await exchange.send(busy if exchange.visit == 1 else redirect("/goal.jpg"))
        return True
    row.page(page)
    row.page(answer(row.photo()), target="/goal.jpg")
