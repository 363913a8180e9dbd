"""Addresses where nobody may go, in every spelling, by url, by Location and by name. A canary waits at each."""
from ..answers import answer, redirect
from ..kind import SERVER, WEB, kind
from ..names import Reply, alias, fixed

SPELLINGS = {
    "loopback": ["127.0.0.1", "127.0.0.2", "127.255.255.254", "127.0.0.1:8080", "127.0.0.1:6379", "127.0.0.1:22"],
    "loopback_numbers": ["2130706433", "0x7f000001", "017700000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.1", "0x7F.1", "0177.0.0.01"],
    "loopback_trailing_dot": ["127.0.0.1.", "2130706433.", "0x7f000001.", "localhost."],
    "loopback_circled": ["\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "\u2460\u2461\u2466\u3002\u24ea\u3002\u24ea\u3002\u2460", "\u2460\u2461\u2466.0.0.1"],
    "loopback_full_width": ["\uff11\uff12\uff17.\uff10.\uff10.\uff11", "\uff11\uff12\uff17\uff0e\uff10\uff0e\uff10\uff0e\uff11", "127\uff0e0\uff0e0\uff0e1"],
    "loopback_ideographic": ["127\u30020\u30020\u30021", "127\uff610\uff610\uff611", "\uff11\uff12\uff17\u3002\uff10\u3002\uff10\u3002\uff11"],
    "loopback_superscript": ["\u00b9\u00b2\u2077.\u2070.\u2070.\u00b9", "\u2081\u2082\u2087.\u2080.\u2080.\u2081", "\U0001d7cf\U0001d7d0\U0001d7d5.0.0.1"],
    "loopback_escaped": ["%31%32%37.0.0.1", "127%2e0%2e0%2e1", "%6cocalhost"],
    "loopback_soft_hyphen": ["127.0.0.\u00ad1", "local\u00adhost", "127\u200b.0.0.1"],
    "localhost": ["localhost", "LOCALHOST", "localhost:80", "Localhost", "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54", "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3"],
    "localhost_below": ["foo.localhost", "a.b.localhost", "photos.localhost."],
    "userinfo_hides": ["photoweb.net@127.0.0.1", "photoweb.net:80@127.0.0.1", "photoweb.net%2f@127.0.0.1", "a:b@localhost"],
    "this_network": ["0.0.0.0", "0", "0x0", "00000000", "0.1.2.3", "0.0.0.0:8080"],
    "private_10": ["10.0.0.1", "10.1", "167772161", "10.255.255.255", "0xa000001", "012.0.0.1", "10.0.0.1:8080"],
    "private_172": ["172.16.0.1", "172.31.255.255", "0xac100001", "172.16.1", "172.20.10.1"],
    "private_192": ["192.168.0.1", "192.168.257", "3232235521", "0xc0a80001", "192.168.1.1:8080", "0300.0250.0.1"],
    "metadata": ["169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "0xA9.0xFE.0xA9.0xFE", "169.254.169.254."],
    "metadata_circled": ["\u2460\u2465\u2468.\u2461\u2464\u2463.\u2460\u2465\u2468.\u2461\u2464\u2463", "\u2460\u2465\u2468\u3002\u2461\u2464\u2463\u3002\u2460\u2465\u2468\u3002\u2461\u2464\u2463"],
    "link_local": ["169.254.0.1", "169.254.170.2", "169.254.255.255"],
    "shared": ["100.64.0.1", "100.127.255.254", "100.100.100.200", "1681915905"],
    "protocol": ["192.0.0.1", "192.0.0.192", "192.0.0.8"],
    "documentation": ["192.0.2.1", "198.51.100.7", "203.0.113.99"],
    "benchmark": ["198.18.0.1", "198.19.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.250", "0xe0000001", "3758096385"],
    "reserved": ["240.0.0.1", "250.1.2.3", "254.255.255.255", "0xf0000001"],
    "broadcast": ["255.255.255.255", "0xffffffff", "4294967295"],
    "v6_loopback": ["[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::1]:8080", "[::0001]"],
    "v6_unspecified": ["[::]", "[0::0]", "[::0]"],
    "v6_mapped": ["[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "[::ffff:10.0.0.1]", "[::ffff:169.254.169.254]", "[::FFFF:a9fe:a9fe]", "[::ffff:0.0.0.0]"],
    "v6_compatible": ["[::127.0.0.1]", "[::10.0.0.1]", "[::a9fe:a9fe]", "[::7f00:1]"],
    "v6_nat64": ["[64:ff9b::7f00:1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b::10.0.0.1]", "[64:ff9b::c0a8:1]"],
    "v6_nat64_local": ["[64:ff9b:1::1]", "[64:ff9b:1::7f00:1]", "[64:ff9b:1:ffff::a00:1]"],
    "v6_translated": ["[::ffff:0:127.0.0.1]", "[::ffff:0:7f00:1]", "[::ffff:0:a9fe:a9fe]"],
    "v6_6to4": ["[2002:7f00:1::]", "[2002:7f00:1::1]", "[2002:a00:1::]", "[2002:a9fe:a9fe::1]", "[2002:c0a8:1::1]"],
    "v6_teredo": ["[2001:0:4136:e378:8000:63bf:80ff:fffe]", "[2001:0:7f00:1::]", "[2001::1]"],
    "v6_unique_local": ["[fc00::1]", "[fd00::1]", "[fd00:ec2::254]", "[fdff:ffff::1]", "[fd12:3456:789a::1]:8080"],
    "v6_link_local": ["[fe80::1]", "[febf::1]", "[fe80:0:0:1::1]"],
    "v6_site_local": ["[fec0::1]", "[feff::1]"],
    "v6_multicast": ["[ff02::1]", "[ff05::2]", "[ff0e::1]"],
    "v6_documentation": ["[2001:db8::1]", "[3fff::1]", "[2001:db8:ffff::1]"],
    "v6_discard": ["[100::1]", "[100:0:0:1::1]"],
    "v6_reserved": ["[2001:2::1]", "[2001:10::1]", "[5f00::1]", "[4000::1]", "[8000::1]", "[1::1]"],
    "v6_zone": ["[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1%25lo]", "[fe80::1%251]"],
}
# Whole authorities: what reads them wrongly sees a public host.
TRICKS = {
    "fragment_hides": ["127.0.0.1#@photoweb.net", "127.0.0.1#.photoweb.net", "10.0.0.1#photoweb.net:80"],
    "query_hides": ["127.0.0.1?@photoweb.net", "127.0.0.1?.photoweb.net"],
    "backslash_hides": ["127.0.0.1\\@photoweb.net", "127.0.0.1\\.photoweb.net"],
    "two_userinfos": ["photoweb.net@a@127.0.0.1", "photoweb.net:80@photoweb.net:81@127.0.0.1"],
    "ports_of_zeros": ["127.0.0.1:00080", "127.0.0.1:", "[::1]:00080", "[::1]:"],
    "tab_inside": ["127.\t0.0.1", "local\thost", "\t127.0.0.1", "[::\t1]", "127.0.0.1\n"],
    "v6_isatap": ["[2606:4700::5efe:10.0.0.1]", "[2606:4700::200:5efe:7f00:1]"],
    "wire_server": ["168.63.129.16", "2822734096", "0xa83f8110", "[::ffff:168.63.129.16]", "[64:ff9b::a83f:8110]"],
    "trailing_dot_ideographic": ["127.0.0.1\u3002", "localhost\u3002", "127.0.0.1\uff0e", "10.0.0.1\uff61"],
    "numbers_full_width_hex": ["\uff10\uff58\uff17\uff46000001", "\uff12\uff11\uff13\uff10\uff17\uff10\uff16\uff14\uff13\uff13"],
    "kelvin_and_long_s": ["localho\u017ft", "LOCALHO\u017fT"],
}
SPELLINGS |= TRICKS
BLOCKED = ("blocked_address",)
NO_URL = {"v6_zone"}
# A soft hyphen and a zero-width space vanish from a host; whoever refuses the url does no harm.
REFUSED = {"two_userinfos", "loopback_soft_hyphen", "loopback_superscript", "loopback_escaped", "userinfo_hides"}


def literal(name, hosts):
    classes = (*BLOCKED, "bad_url") if name in NO_URL | REFUSED else BLOCKED

    @kind(f"addresses/url_{name}", rows=len(hosts))
    def by_url(row):
        row.url = f"http://{hosts[row.number]}/{name}.jpg"
        row.drop(*classes)

    @kind(f"addresses/location_{name}", rows=len(hosts))
    def by_location(row):
        row.page(redirect(f"http://{hosts[row.number]}/{name}.jpg"))
        row.drop(*classes, *(["bad_response"] if len(classes) > 1 else []))


for _name, _hosts in SPELLINGS.items():
    literal(_name, _hosts)

TARGETS = ["127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.5.5", "192.168.1.1", "169.254.169.254", "100.64.3.3", "192.0.0.192", "198.18.0.9",
           "192.0.2.7", "224.0.0.9", "240.0.0.9", "255.255.255.255", "::1", "::", "::ffff:127.0.0.1", "::ffff:10.9.9.9", "::127.0.0.1", "64:ff9b::7f00:1",
           "64:ff9b:1::5", "2002:7f00:1::9", "2001:0:7f00:1::", "fc00::9", "fd00:ec2::254", "fe80::9", "fec0::9", "ff02::9", "2001:db8::9", "100::9", "4000::9"]


def by_name(name, behaviour, targets=TARGETS, taste=False):
    @kind(f"addresses/name_{name}", rows=len(targets))
    def make(row):
        WEB.names[row.host] = behaviour(row, targets[row.number])
        row.page(answer(row.photo() if taste else row.jpeg()))
        row.drop(*BLOCKED)


def aliased(row, target):
    WEB.names[f"inner.{row.host}"] = fixed(target)
    return alias(f"inner.{row.host}")


by_name("leads_there", lambda row, target: fixed(target))
by_name("also_public", lambda row, target: fixed(SERVER, target))
by_name("also_public_last", lambda row, target: fixed(target, SERVER), targets=TARGETS[:14:2])
by_name("alias", aliased, targets=TARGETS[::3])
by_name("alias_to_localhost", lambda row, target: alias("localhost"), targets=TARGETS[:3])


by_name("alias_to_below_localhost", lambda row, target: alias("photos.localhost"), targets=TARGETS[:2])
by_name("alias_to_an_alias_to_localhost", lambda row, target: aliased_twice(row), targets=TARGETS[:2])


def aliased_twice(row):
    WEB.names[f"inner.{row.host}"] = alias("LocalHost")
    return alias(f"inner.{row.host}")


@kind("addresses/name_one_family_private", rows=6)
def one_family(row):
    """The A record is public and the AAAA record is not, or the reverse."""
    WEB.names[row.host] = fixed(SERVER, "::1") if row.number % 2 else fixed("127.0.0.1", "2606:2800:220:1::10")
    row.page(answer(row.jpeg()))
    row.drop(*BLOCKED)


def rebinding(name, behaviour, rows=6):
    @kind(f"addresses/rebinding_{name}", rows=rows)
    def make(row):
        WEB.names[row.host] = behaviour
        row.page(answer(row.photo()))
        row.drop(*BLOCKED)


rebinding("public_first", lambda kind, visit, tcp: Reply([SERVER] if visit == 1 else ["127.0.0.1"], ttl=0))
rebinding("turns", lambda kind, visit, tcp: Reply([SERVER] if visit % 2 else ["169.254.169.254"], ttl=0))
rebinding("families", lambda kind, visit, tcp: Reply([SERVER, "::1"] if visit > 1 else [SERVER], ttl=0))


@kind("addresses/rebinding_between_redirects", rows=5)
def rebinding_between_redirects(row):
    WEB.names[row.host] = lambda kind, visit, tcp: Reply([SERVER] if visit == 1 else ["10.0.0.5"], ttl=0)
    row.page(redirect(row.at("/second.jpg"), "302 Found", "Connection: close"))
    row.page(answer(row.photo()), target="/second.jpg")
    row.drop(*BLOCKED)


@kind("addresses/rebinding_between_tries", rows=5)
def rebinding_between_tries(row):
    WEB.names[row.host] = lambda kind, visit, tcp: Reply([SERVER] if visit == 1 else ["10.0.0.6"], ttl=0)
    whole = answer(row.photo(), "Connection: close")

    async def page(exchange):
        await exchange.send(whole if exchange.visit > 1 else answer(b"", "Connection: close", status="503 Service Unavailable"))
        return False
    row.page(page)
    row.drop(*BLOCKED, "http_5xx")


@kind("addresses/hosts_file", rows=6)
def hosts_file(row):
    target = ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "192.168.0.9", "0.0.0.0"][row.number]
    WEB.hosts_file[row.host] = target
    row.drop(*BLOCKED)


@kind("addresses/hosts_file_public", rows=3)
def hosts_file_public(row):
    WEB.hosts_file[row.host] = "93.184.10.9"
    row.page(answer(row.photo()))


@kind("addresses/public_by_number", rows=4)
def public_by_number(row):
    """Nothing is wrong with an odd spelling of a public address."""
    written = ["93.184.31.1", "0x5db81f02", "93.184.7939", "\uff19\uff13.184.31.4"][row.number]
    row.page(answer(row.photo()), host=f"93.184.31.{row.number + 1}")
    row.url = f"http://{written}{row.target}"


@kind("addresses/name_like_an_address", rows=4)
def name_like_an_address(row):
    """Names that look like addresses of ours and lead to the public server."""
    host = f"{['127.0.0.1', '10-0-0-1', 'localhost', '169.254.169.254'][row.number]}.{row.host}"
    row.page(answer(row.photo()), host=host)
    row.url = row.at(host=host)


@kind("addresses/loopback_tls", rows=4)
def loopback_tls(row):
    row.url = f"https://{['127.0.0.1', '[::1]', '10.0.0.1', '169.254.169.254'][row.number]}/x.jpg"
    row.drop(*BLOCKED)


@kind("addresses/ports_of_services", rows=10)
def ports(row):
    row.url = f"http://127.0.0.1:{(22, 25, 81, 1080, 2375, 3128, 5432, 6379, 8000, 9200)[row.number]}/x.jpg"
    row.drop(*BLOCKED)
