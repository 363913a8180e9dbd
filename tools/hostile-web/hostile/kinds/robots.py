"""X-Robots-Tag: every spelling that counts, and those that must not."""
from ..answers import answer
from ..kind import kind

COUNTS = {
    "noai": ["noai", "NOAI", "NoAi", " noai ", "noai,", ",noai", "noai;"],
    "noimageai": ["noimageai", "NOIMAGEAI", "noImageAI", "noai, noimageai", "noimageai,noai", "noimageai , all", "all,noimageai"],
    "noindex": ["noindex", "NOINDEX", "noindex, nofollow", "nofollow, noindex", "nofollow,noindex", "noindex,follow", "index, noindex"],
    "noimageindex": ["noimageindex", "NOIMAGEINDEX", "NoImageIndex", "noarchive, noimageindex", "noimageindex, noarchive", "nosnippet,noimageindex,noarchive"],
    "none": ["none", "NONE", "None", "none, all", "all, none", "\tnone"],
    "after_value": ["max-snippet: 20, noai", "unavailable_after: Wed, 25 Jun 2031 15:00:00 GMT, noai", "unavailable_after: 25 Jun 2031 15:00:00 PST, noindex",
                    "max-image-preview: large, noimageai", "max-video-preview: -1, none", "max-snippet:-1, max-image-preview:large, noindex"],
    "our_name": ["laioncele: noai", "LaionCele: noindex", "LAIONCELE:none", "laioncele : noai", "googlebot: all, laioncele: noai", "laioncele: all, noai"],
    "star_name": ["*: noai", "*:none", "* : noindex", "*: all, noimageai"],
    "long_list": [", ".join(["all"] * 50 + ["noai"]), ", ".join(["nofollow", "noarchive", "nosnippet", "notranslate", "noai"])],
}
IGNORED = {
    "all": ["all", "ALL", "index", "index, follow", "", " ", ","],
    "other_directives": ["noarchive", "nosnippet", "nofollow", "notranslate", "noarchive, nosnippet, nofollow", "indexifembedded"],
    "values": ["max-snippet: 20", "max-image-preview: none", "max-image-preview:none", "max-video-preview: 0", "unavailable_after: 25 Jun 2010 15:00:00 PST",
               "max-snippet: -1, max-image-preview: large"],
    "others": ["googlebot: noindex", "otherbot: noai", "otherbot: all, noai", "GoogleBot: none", "bingbot:noindex", "google-bot: noai", "otherbot: noindex, nofollow"],
    "look_alikes": ["noaim", "xnoai", "no-ai", "no ai", "noindexing", "nonesuch", "noimage", "none-of-it"],
}


def tag(name, values, counts):
    @kind(f"robots/{'counts' if counts else 'ignored'}_{name}", rows=len(values))
    def make(row):
        row.page(answer(row.jpeg() if counts else row.photo(), f"X-Robots-Tag: {values[row.number]}"))
        if counts:
            row.drop("opt_out")


for _name, _values in COUNTS.items():
    tag(_name, _values, counts=True)
for _name, _values in IGNORED.items():
    tag(_name, _values, counts=False)

REPEATED = [
    (["all", "noai"], True), (["noai", "all"], True), (["googlebot: noindex", "noai"], True), (["otherbot: all", "laioncele: none"], True),
    (["nofollow", "noarchive", "noimageindex"], True), (["googlebot: noindex", "otherbot: none"], False), (["all", "index"], False),
    (["otherbot: all", "nofollow"], False),
]


@kind("robots/repeated", rows=len(REPEATED))
def repeated(row):
    values, counts = REPEATED[row.number]
    row.page(answer(row.jpeg() if counts else row.photo(), *[f"X-Robots-Tag: {v}" for v in values]))
    if counts:
        row.drop("opt_out")


NAMES = ["x-robots-tag", "X-ROBOTS-TAG", "x-Robots-taG"]


@kind("robots/header_case", rows=len(NAMES))
def header_case(row):
    row.page(answer(row.jpeg(), f"{NAMES[row.number]}: noai"))
    row.drop("opt_out")


OTHERS = ["Robots: noai", "X-Robots: noai", "X-Robots-Tags: noai", "X-Robots-Tag-Old: none"]


@kind("robots/other_headers", rows=len(OTHERS))
def other_headers(row):
    row.page(answer(row.photo(), OTHERS[row.number]))


@kind("robots/folded", rows=3)
def folded(row):
    row.page(answer(row.jpeg(), "X-Robots-Tag: all,\r\n noai"))
    row.drop("opt_out")


@kind("robots/high_bytes", rows=3)
def high_bytes(row):
    row.page(answer(row.jpeg(), b"X-Robots-Tag: \xff\xfe, noai"))
    row.drop("opt_out")


@kind("robots/on_404", rows=3)
def on_404(row):
    row.page(answer(b"", "X-Robots-Tag: noai", status="404 Not Found"))
    row.drop("http_4xx", "opt_out")


@kind("robots/name_with_blank", rows=3)
def name_with_blank(row):
    row.page(answer(row.photo(), "X-Robots-Tag: other bot: noai"))
