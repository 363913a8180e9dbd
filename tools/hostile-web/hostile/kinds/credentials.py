"""What must not be carried to another host. The servers note each cookie, password and referrer that they get."""
from ..answers import answer, redirect
from ..kind import kind

SETS = ["Set-Cookie: id=1; Path=/", "Set-Cookie: id=2; Domain=photoweb.net; Path=/", "Set-Cookie: id=3; Domain=net"]


@kind("credentials/cookie_then_other_host", rows=6)
def cookie_then_other_host(row):
    row.page(redirect(row.at(host=row.other_host()), "302 Found", SETS[row.number % 3]))
    row.page(answer(row.photo()), host=row.other_host())


@kind("credentials/cookie_loop", rows=4)
def cookie_loop(row):
    """A host that redirects to itself until its cookie comes back: a browser gets the photo, we may not."""
    whole = answer(row.photo())

    async def page(exchange):
        await exchange.send(whole if "seen=1" in exchange.headers.get("cookie", "") else redirect(row.target, "302 Found", "Set-Cookie: seen=1; Path=/"))
        return True
    row.page(page)
    row.drop("too_many_redirects")


@kind("credentials/cookies_of_one_host", rows=6, one_host=True)
def cookies_of_one_host(row):
    row.page(answer(row.photo(), f"Set-Cookie: id={row.number}; Path=/"))


@kind("credentials/password_then_other_host", rows=6)
def password_then_other_host(row):
    row.page(redirect(row.at(host=row.other_host()), ("302 Found", "307 Temporary Redirect", "308 Permanent Redirect")[row.number % 3]))
    row.page(answer(row.photo()), host=row.other_host())
    row.url = row.at().replace("http://", "http://user:secret@")


@kind("credentials/password_then_https", rows=3)
def password_then_https(row):
    row.page(redirect(row.at(host=row.other_host(), scheme="https")))
    row.page(answer(row.photo()), host=row.other_host())
    row.url = row.at().replace("http://", "http://user:secret@")


@kind("credentials/password_from_https", rows=3, scheme="https")
def password_from_https(row):
    row.page(redirect(row.at(scheme="http", host=row.other_host())))
    row.page(answer(row.photo()), host=row.other_host())
    row.url = row.at().replace("https://", "https://user:secret@")


@kind("credentials/password_in_location", rows=3)
def password_in_location(row):
    row.page(redirect(f"http://admin:admin@{row.other_host()}{row.target}"))
    row.page(answer(row.photo()), host=row.other_host())
    row.drop("bad_url", "bad_response")


@kind("credentials/secret_in_query", rows=4)
def secret_in_query(row):
    """Would be told to the other host by a Referer."""
    row.target = f"/{row.number}.jpg?token=secret"
    row.url = row.at()
    row.page(redirect(row.at("/open.jpg", host=row.other_host())))
    row.page(answer(row.photo()), host=row.other_host(), target="/open.jpg")


@kind("credentials/proxy_headers", rows=3)
def proxy_headers(row):
    row.page(redirect("/goal.jpg", "302 Found", "Proxy-Connection: keep-alive", "Proxy-Authenticate: Basic"))
    row.page(answer(row.photo()), target="/goal.jpg")


@kind("credentials/proxy_pac", rows=3)
def proxy_pac(row):
    row.page(answer(row.photo(), "Link: <http://127.0.0.1/proxy.pac>; rel=proxy", "Location: http://127.0.0.1/"))
