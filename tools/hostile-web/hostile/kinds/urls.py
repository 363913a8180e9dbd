"""Urls as the web writes them: what a browser would ask for, and what is no url at all."""
from ..answers import answer
from ..kind import DOMAIN, kind

# name -> (end of the url as written, target that the server knows)
PATHS = {
    "plain": ("/photo.jpg", "/photo.jpg"),
    "query": ("/p.jpg?w=80&h=90", "/p.jpg?w=80&h=90"),
    "commas": ("/crop.jpg?crop=26,19,x0,y0&width=80", "/crop.jpg?crop=26,19,x0,y0&width=80"),
    "url_in_query": ("/q.jpg?u=http://other.example/x.jpg&t=%2F", "/q.jpg?u=http://other.example/x.jpg&t=%2F"),
    "entity_amp": ("/e.jpg?a=1&amp;b=2&amp;c=3", "/e.jpg?a=1&b=2&c=3"),
    "entity_decimal": ("/e.jpg?a=1&#38;b=2", "/e.jpg?a=1&b=2"),
    "entity_hex": ("/e.jpg?a=1&#x26;b=2", "/e.jpg?a=1&b=2"),
    "entity_literal": ("/e.jpg?a=1&amp;b=2", "/e.jpg?a=1&amp;b=2"),
    "space": ("/a b c.jpg", "/a%20b%20c.jpg"),
    "space_in_query": ("/a.jpg?t=x y", "/a.jpg?t=x%20y"),
    "plus": ("/a+b.jpg?c+d", "/a+b.jpg?c+d"),
    "escaped_space": ("/a%20b.jpg", "/a%20b.jpg"),
    "umlaut": ("/\u00fcber.jpg", "/%C3%BCber.jpg"),
    "umlaut_in_query": ("/x.jpg?q=\u00fcber", "/x.jpg?q=%C3%BCber"),
    "cjk": ("/\u5199\u771f/\u732b.jpg", "/%E5%86%99%E7%9C%9F/%E7%8C%AB.jpg"),
    "emoji": ("/\U0001f600.jpg", "/%F0%9F%98%80.jpg"),
    "escaped_umlaut": ("/%C3%BCber.jpg", "/%C3%BCber.jpg"),
    "escaped_lower_case": ("/%c3%bcber.jpg", "/%c3%bcber.jpg"),
    "escaped_latin1": ("/%FCber.jpg", "/%FCber.jpg"),
    "escaped_slash": ("/a%2Fb.jpg", "/a%2Fb.jpg"),
    "fragment": ("/f.jpg#main", "/f.jpg"),
    "fragment_slash": ("/f.jpg#/gallery/3?x=1", "/f.jpg"),
    "empty_fragment": ("/f.jpg#", "/f.jpg"),
    "dots": ("/d/./y/../x.jpg", "/d/x.jpg"),
    "dots_above_root": ("/../../x.jpg", "/x.jpg"),
    "escaped_dots": ("/d/%2e%2e/x.jpg", "/x.jpg"),
    "double_slash": ("/a//b.jpg", "/a//b.jpg"),
    "leading_double_slash": ("//b.jpg", "//b.jpg"),
    "backslash": ("\\a\\b.jpg", "/a/b.jpg"),
    "no_path": ("", "/"),
    "no_path_query": ("?id=7", "/?id=7"),
    "empty_query": ("/x.jpg?", "/x.jpg?"),
    "two_question_marks": ("/x.jpg?a?b", "/x.jpg?a?b"),
    "bad_escape": ("/100%.jpg", "/100%.jpg"),
    "bad_escape_letters": ("/%zz%.jpg", "/%zz%.jpg"),
    "brackets": ("/a[1].jpg?b[]=2", "/a[1].jpg?b[]=2"),
    "braces": ("/a{1}.jpg", "/a%7B1%7D.jpg"),
    "pipe": ("/a|b.jpg?c|d", "/a|b.jpg?c|d"),
    "quotes": ("/a\"b'.jpg", "/a%22b'.jpg"),
    "angles": ("/<a>.jpg", "/%3Ca%3E.jpg"),
    "semicolon": ("/a;jsessionid=9.jpg", "/a;jsessionid=9.jpg"),
    "at_in_path": ("/@user/a@2x.jpg", "/@user/a@2x.jpg"),
    "colon_in_path": ("/a:b.jpg", "/a:b.jpg"),
    "exclamation": ("/a!$&'()*,=~_-.jpg", "/a!$&'()*,=~_-.jpg"),
    "tab_inside": ("/ta\tb.jpg", "/tab.jpg"),
    "newline_inside": ("/ne\nw.jpg", "/new.jpg"),
    "no_extension": ("/image/12345", "/image/12345"),
    "wrong_extension": ("/image.php?f=1.gif", "/image.php?f=1.gif"),
    "long_2000": ("/" + "l" * 2000 + ".jpg", "/" + "l" * 2000 + ".jpg"),
    "long_8000": ("/l.jpg?" + "q" * 8000, "/l.jpg?" + "q" * 8000),
    "trailing_dot": ("/x.jpg.", "/x.jpg."),
    "zero_width": ("/a\u200bb.jpg", "/a%E2%80%8Bb.jpg"),
    "non_breaking_space": ("/a\u00a0b.jpg", "/a%C2%A0b.jpg"),
}


def register_path(name, written, target):
    @kind(f"urls/{name}", rows=5)
    def make(row):
        row.page(answer(row.photo()), target=target)
        row.url = row.at(written)


for _name, (_written, _target) in PATHS.items():
    register_path(_name, _written, _target)


# name -> the whole url, from host and path
WHOLE = {
    "capital_scheme": lambda h, p: f"HTTP://{h}{p}",
    "mixed_scheme": lambda h, p: f"hTTp://{h}{p}",
    "capital_host": lambda h, p: f"http://{h.upper()}{p}",
    "blanks_around": lambda h, p: f"  http://{h}{p} ",
    "tab_around": lambda h, p: f"\thttp://{h}{p}\t",
    "newline_after": lambda h, p: f"http://{h}{p}\n",
    "carriage_return_after": lambda h, p: f"http://{h}{p}\r\n",
    "port_80": lambda h, p: f"http://{h}:80{p}",
    "port_8080": lambda h, p: f"http://{h}:8080{p}",
    "port_zeros": lambda h, p: f"http://{h}:00080{p}",
    "empty_port": lambda h, p: f"http://{h}:{p}",
    "host_trailing_dot": lambda h, p: f"http://{h}.{p}",
    "backslashes": lambda h, p: f"http:\\\\{h}{p}",
    "one_slash": lambda h, p: f"http:/{h}{p}",
    "three_slashes": lambda h, p: f"http:///{h}{p}",
    "userinfo": lambda h, p: f"http://user:secret@{h}{p}",
    "user_alone": lambda h, p: f"http://user@{h}{p}",
    "empty_userinfo": lambda h, p: f"http://@{h}{p}",
    "host_escaped": lambda h, p: f"http://{h.replace('.', '%2E')}{p}",
    "host_full_width": lambda h, p: "http://" + h.replace("photoweb", "\uff50\uff48\uff4f\uff54\uff4f\uff57\uff45\uff42") + p,
    "host_ideographic_dot": lambda h, p: "http://" + h.replace(".", "\u3002") + p,
    "host_trailing_ideographic_dot": lambda h, p: f"http://{h}\u3002{p}",
    "host_circled": lambda h, p: "http://" + h.replace("photoweb", "\u24df\u24d7\u24de\u24e3\u24de\u24e6\u24d4\u24d1") + p,
    "host_bold": lambda h, p: "http://" + h.replace("photoweb", "".join(chr(0x1D41A + ord(c) - 97) for c in "photoweb")) + p,
    "port_080": lambda h, p: f"http://{h}:080{p}",
    "userinfo_with_port": lambda h, p: f"http://127.0.0.1:80@{h}{p}",
    "userinfo_escaped_at": lambda h, p: f"http://127.0.0.1%40@{h}{p}",
    "host_soft_hyphen": lambda h, p: "http://" + h.replace("photoweb", "photo\u00adweb") + p,
}
TASTE = {"one_slash", "three_slashes", "blanks_around_entity"}


def register_whole(name, write):
    @kind(f"urls/{name}", rows=5)
    def make(row):
        row.page(answer(row.photo()))
        row.url = write(row.host, row.target)
        if name in TASTE:
            row.drop("bad_url", "dns", "http_4xx")


for _name, _write in WHOLE.items():
    register_whole(_name, _write)

# Hosts with odd but legal names.
HOSTS = {
    "idn": "b\u00fccher{}",
    "idn_capitals": "B\u00c4CKER{}",
    "idn_cjk": "\u5199\u771f{}",
    "idn_sharp_s": "stra\u00dfe{}",
    "underscore": "my_pics{}",
    "hyphen_first": "-pics{}",
    "hyphen_last": "pics{}-",
    "digits": "12345{}",
    "label_63": "l" * 61 + "{:02}",
    "many_labels": "a.b.c.d.e.f.g.h.i.j.k{}",
}


def register_host(name, written):
    @kind(f"urls/host_{name}", rows=4)
    def make(row):
        shown = written.format(row.number)
        wire = shown if shown.isascii() else "xn--" + shown.lower().encode("punycode").decode()
        row.page(answer(row.photo()), host=f"{wire}.{DOMAIN}")
        row.url = f"http://{shown}.{DOMAIN}{row.target}"


@kind("urls/host_punycode", rows=4)
def host_punycode(row):
    host = "xn--" + f"m\u00fcnchen{row.number}".encode("punycode").decode()
    row.page(answer(row.photo()), host=f"{host}.{DOMAIN}")
    row.url = f"http://{host}.{DOMAIN}{row.target}"


for _name, _written in HOSTS.items():
    register_host(_name, _written)

# What is no url of the web. Blank ones may be dropped by a source before anybody downloads.
BAD = {
    "empty": ["", " ", "\t", "\n"],
    "words": ["photo.jpg", "not a url", "n/a", "null", "-", "http", "http:", "://", "www.photoweb.net/x.jpg"],
    "no_host": ["http://", "http://?x", "http://#x", "https://", "http://:80/x.jpg", "http://@/x.jpg", "http://user@/x.jpg"],
    "port": ["http://h.{d}:99999/x.jpg", "http://h.{d}:port/x.jpg", "http://h.{d}:-1/x.jpg", "http://h.{d}:80a/x.jpg"],
    "host": ["http://h .{d}/x.jpg", "http://h<.{d}/x.jpg", "http://h^.{d}/x.jpg", "http://h|.{d}/x", "http://%00.{d}/x.jpg", "http://h\x00.{d}/x"],
    "ipv6": ["http://[::1/x.jpg", "http://[:::]/x.jpg", "http://[g::1]/x.jpg", "http://[1:2:3]/x.jpg", "http://[::1]x/x.jpg", "http://::1/x.jpg"],
    "ipv4": ["http://1.2.3.4.5/x.jpg", "http://256.256.256.256/x.jpg", "http://0x1ffffffff/x.jpg", "http://4294967296/", "http://1.2.3.08/x.jpg"],
    "file": ["file:///etc/passwd", "file://localhost/etc/passwd", "FILE:///etc/hosts", "file:etc/passwd", "file:////etc/passwd"],
    "ftp": ["ftp://h.{d}/x.jpg", "FTP://h.{d}/x.jpg", "ftps://h.{d}/x.jpg", "sftp://h.{d}/x.jpg"],
    "data": ["data:image/png;base64,iVBORw0KGgo=", "data:,x", "DATA:image/jpeg;base64,/9j/", "data:image/svg+xml;utf8,<svg/>"],
    "gopher": ["gopher://127.0.0.1:6379/_INFO", "dict://127.0.0.1:11211/stat", "ldap://127.0.0.1/x", "tftp://127.0.0.1/x", "smb://127.0.0.1/x"],
    "script": ["javascript:alert(1)", "vbscript:x", "mailto:a@b.example", "about:blank", "blob:http://h.{d}/1", "view-source:http://h.{d}/x.jpg"],
    "other": ["ws://h.{d}/x.jpg", "wss://h.{d}/x.jpg", "s3://bucket/x.jpg", "gs://bucket/x.jpg", "ipfs://Qm/x.jpg", "magnet:?xt=1", "urn:x:y"],
    "relative": ["//h.{d}/x.jpg", "/x.jpg", "../x.jpg", "?x=1", "#x", "h.{d}/x.jpg"],
    "glued": ["http//h.{d}/x.jpg", "htp://h.{d}/x.jpg", "hhttp://h.{d}/x.jpg", "h.{d}:80/x.jpg"],
}


# An address is meant, if not written well; `//h/x` may be taken for http.
ALSO = {"ipv4": ("blocked_address",), "ipv6": ("blocked_address",), "relative": ("http_4xx",)}


def register_bad(name, urls):
    @kind(f"urls/bad_{name}", rows=len(urls))
    def make(row):
        row.url = urls[row.number].replace("{d}", DOMAIN)
        row.drop("bad_url", "empty_caption", *ALSO.get(name, ()))


for _name, _urls in BAD.items():
    register_bad(_name, _urls)


@kind("urls/bad_label_64", rows=2)
def label_64(row):
    row.url = f"http://{'l' * 64}.{DOMAIN}/{row.number}.jpg"
    row.drop("bad_url", "dns")


@kind("urls/bad_name_300", rows=2)
def name_300(row):
    row.url = "http://" + "abcdefghi." * 30 + f"{DOMAIN}/{row.number}.jpg"
    row.drop("bad_url", "dns")


@kind("urls/bad_dots", rows=4)
def dots(row):
    row.url = ["http://./x.jpg", "http://../x.jpg", f"http://.{DOMAIN}/x.jpg", f"http://a..{DOMAIN}/x.jpg"][row.number]
    row.drop("bad_url", "dns")


@kind("urls/long_100000", rows=2)
def long_100000(row):
    row.url = row.at("/" + "q" * 100_000)
    row.drop("bad_url", "http_4xx", "bad_response", "connect")


@kind("urls/long_1000000", rows=1)
def long_1000000(row):
    row.url = row.at("/" + "q" * 1_000_000)
    row.drop("bad_url", "http_4xx", "bad_response", "connect")


@kind("urls/host_of_10000_labels", rows=1)
def host_of_10000_labels(row):
    row.url = "http://" + "a." * 10_000 + f"{DOMAIN}/x.jpg"
    row.drop("bad_url", "dns")


@kind("urls/userinfo_of_50000", rows=1)
def userinfo_of_50000(row):
    row.page(answer(row.photo()))
    row.url = f"http://{'u' * 50_000}@{row.host}{row.target}"
    row.drop("bad_url")


@kind("urls/port_closed", rows=4)
def port_closed(row):
    row.url = f"http://{row.host}:{(1, 4443, 9, 65535)[row.number]}/x.jpg"
    row.drop("connect")


@kind("urls/port_0", rows=2)
def port_0(row):
    row.url = f"http://{row.host}:{'0' * (row.number * 4 + 1)}/x.jpg"
    row.drop("connect", "bad_url")


@kind("urls/byte_order_mark", rows=2)
def byte_order_mark(row):
    row.page(answer(row.photo()))
    row.url = "\ufeff" + row.at()
    row.drop("bad_url")


@kind("urls/ip_literal", rows=5)
def ip_literal(row):
    address = f"93.184.30.{row.number + 1}"
    written = [address, f"{93 * 2**24 + 184 * 2**16 + 30 * 256 + 2}", "0x5db81e03", "0135.0270.036.04", f"[2606:2800:220:1::{row.number}]"][row.number]
    wire = [address, "93.184.30.2", "93.184.30.3", "93.184.30.4", "[2606:2800:220:1::4]"][row.number]
    row.page(answer(row.photo()), host=wire)
    row.url = f"http://{written}{row.target}"
