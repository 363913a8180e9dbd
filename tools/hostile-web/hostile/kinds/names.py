"""The name server's hostilities."""
from ..answers import answer
from ..kind import DOMAIN, SERVER, SERVER_V6, WEB, kind
from ..names import NXDOMAIN, REFUSED, SERVFAIL, A, Reply, alias, fails, fixed

NO_NAME = ("dns",)
CLOSED = "93.184.68.1"


def served(name, behaviour, rows=6, taste=()):
    """A name that leads to the photo by `behaviour(row)`."""
    @kind(f"names/{name}", rows=rows)
    def make(row):
        WEB.names[row.host] = behaviour(row)
        row.page(answer(row.photo()))
        if taste:
            row.drop(*taste)


def failing(name, behaviour, rows=5, classes=NO_NAME):
    @kind(f"names/{name}", rows=rows)
    def make(row):
        WEB.names[row.host] = behaviour(row)
        row.drop(*classes)


def chain(row, length, last):
    """CNAMEs one after the other."""
    hops = [row.host] + [f"c{i}.{row.host}" for i in range(1, length)]
    for before, after in zip(hops, hops[1:]):
        WEB.names[before] = alias(after)
    WEB.names[hops[-1]] = last
    return WEB.names[row.host]


def first_fails(fault):
    """The first question of each type gets `fault`, later ones the address."""
    return lambda kind, visit, tcp: fault if visit == 1 else Reply([SERVER])


served("only_v4", lambda r: fixed(SERVER))
served("only_v6", lambda r: fixed(SERVER_V6))
served("both", lambda r: fixed(SERVER, SERVER_V6))
served("v6_closed_v4_serves", lambda r: fixed("2606:2800:220:68::1", SERVER))
served("v6_not_routed_v4_serves", lambda r: fixed("2a00:dead::1", SERVER))
served("first_closed", lambda r: fixed(CLOSED, SERVER))
served("five_closed", lambda r: fixed(*[f"93.184.68.{i}" for i in range(1, 6)], SERVER))
served("twenty_addresses", lambda r: fixed(*[f"93.184.11.{i}" for i in range(1, 21)]))
served("two_hundred_addresses", lambda r: fixed(*[f"93.184.11.{i}" for i in range(1, 201)]), rows=3)
served("same_address_twice", lambda r: fixed(SERVER, SERVER))
served("ttl_0", lambda r: fixed(SERVER, ttl=0))
served("ttl_68_years", lambda r: fixed(SERVER, ttl=2**31 - 1))
served("ttl_negative", lambda r: fixed(SERVER, ttl=2**32 - 1))
served("alias", lambda r: chain(r, 2, fixed(SERVER)))
served("aliases_5", lambda r: chain(r, 5, fixed(SERVER)))
served("aliases_30", lambda r: chain(r, 30, fixed(SERVER)), rows=3, taste=NO_NAME)
served("alias_underscore", lambda r: alias(f"_x_.{DOMAIN}"))
served("slow_1_s", lambda r: fixed(SERVER, delay=1.0))
served("truncated_then_tcp", lambda r: fixed(SERVER, truncated=True))
served("first_question_lost", lambda r: first_fails(Reply(silent=True)))
served("first_servfail", lambda r: first_fails(Reply(code=SERVFAIL)))
served("first_wrong_id", lambda r: first_fails(Reply([CLOSED], wrong_id=True)), rows=3)
served("no_answer_for_v6", lambda r: lambda kind, visit, tcp: Reply([SERVER]) if kind == A else Reply(silent=True), rows=4)
served("servfail_for_v6", lambda r: lambda kind, visit, tcp: Reply([SERVER]) if kind == A else Reply(code=SERVFAIL))
served("nxdomain_for_v6", lambda r: lambda kind, visit, tcp: Reply([SERVER]) if kind == A else Reply(code=NXDOMAIN), taste=NO_NAME)
served("turns_between_servers", lambda r: lambda kind, visit, tcp: Reply([f"93.184.11.{visit % 200 + 1}"], ttl=0))

failing("unknown", lambda r: fails(NXDOMAIN))
failing("servfail", lambda r: fails(SERVFAIL))
failing("refused", lambda r: fails(REFUSED))
failing("not_implemented", lambda r: fails(4))
failing("no_address", lambda r: fixed())
failing("alias_loop", lambda r: alias(r.host))
failing("alias_loop_of_two", lambda r: chain(r, 2, alias(r.host)))
failing("alias_to_unknown", lambda r: alias(f"nobody-{r.number}.example"))
failing("aliases_for_ever", lambda r: endless(r), rows=3)
failing("silent", lambda r: lambda kind, visit, tcp: Reply(silent=True), classes=("dns", "timeout"))
failing("silent_after_truncated", lambda r: lambda kind, visit, tcp: Reply(silent=True) if tcp else Reply(truncated=True), rows=3, classes=("dns", "timeout"))
failing("garbage", lambda r: lambda kind, visit, tcp: Reply(raw=b"\xff" * 40), classes=("dns", "timeout"))
failing("empty_message", lambda r: lambda kind, visit, tcp: Reply(raw=b""), rows=3, classes=("dns", "timeout"))
failing("pointer_loop", lambda r: lambda kind, visit, tcp: Reply(raw=b"\x84\0\0\1\0\1\0\0\0\0\xc0\x0c\0\1\0\1\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x5d\xb8\x0a\1"), rows=3, classes=("dns", "timeout"))
failing("wrong_id", lambda r: fixed(SERVER, wrong_id=True), rows=3, classes=("dns", "timeout"))
failing("all_closed", lambda r: fixed("93.184.68.1", "93.184.68.2", "93.184.68.3"), classes=("connect", "timeout"))


def endless(row):
    """Each alias leads to one that did not exist yet."""
    def behaviour(kind, visit, tcp):
        return Reply(cname=f"x{visit}.endless.{row.host}")
    for i in range(2000):
        WEB.names[f"x{i}.endless.{row.host}"] = alias(f"x{i + 1}.endless.{row.host}")
    return behaviour


@kind("names/no_such_domain", rows=6)
def no_such_domain(row):
    row.url = f"http://{['nobody.example', 'nobody.invalid', 'nobody', 'a.b.c.nobody.test', 'gone-2014.com', 'xn--nobody-.com'][row.number]}/x.jpg"
    row.drop("dns", "bad_url")


@kind("names/many_unknown", rows=60)
def many_unknown(row):
    row.url = f"http://dead{row.number}.example/x.jpg"
    row.drop("dns")


@kind("names/capitals", rows=3)
def capitals(row):
    row.page(answer(row.photo()))
    row.url = row.at(host=row.host.upper())
