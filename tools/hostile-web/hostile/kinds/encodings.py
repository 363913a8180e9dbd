"""Content-Encoding that nobody asked for, or that lies."""
import gzip
import os
import zlib

from ..answers import Keep, answer, chunked, head
from ..kind import kind

GONE = ("bad_response", "corrupt", "not_an_image", "connect")


def raw_deflate(data):
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return squeeze.compress(data) + squeeze.flush()


# name -> (what is sent of the photo, label)
KEPT = {
    "gzip": (gzip.compress, "gzip"),
    "x_gzip": (gzip.compress, "x-gzip"),
    "gzip_capitals": (gzip.compress, "GZIP"),
    "gzip_blanks": (gzip.compress, "  gzip  "),
    "gzip_silent": (gzip.compress, None),
    "gzip_lie": (bytes, "gzip"),
    "deflate_lie": (bytes, "deflate"),
    "br_lie": (bytes, "br"),
    "zstd_lie": (bytes, "zstd"),
    "deflate_zlib": (zlib.compress, "deflate"),
    "deflate_raw": (raw_deflate, "deflate"),
    "identity": (bytes, "identity"),
    "none": (bytes, "none"),
    "empty_label": (bytes, ""),
    "unknown_label": (bytes, "UTF-8"),
    "aws_chunked": (bytes, "aws-chunked"),
    "image_label": (bytes, "image/jpeg"),
    "gzip_twice": (lambda b: gzip.compress(gzip.compress(b)), "gzip, gzip"),
    "gzip_twice_once_sent": (gzip.compress, "gzip, gzip"),
    "gzip_three_times": (lambda b: gzip.compress(gzip.compress(gzip.compress(b))), "gzip, gzip, gzip"),
    "deflate_then_gzip": (lambda b: gzip.compress(zlib.compress(b)), "deflate, gzip"),
    "gzip_then_deflate": (lambda b: zlib.compress(gzip.compress(b)), "gzip, deflate"),
    "identity_gzip": (gzip.compress, "identity, gzip"),
    "gzip_stored": (lambda b: gzip.compress(b, 0), "gzip"),
    "gzip_members": (lambda b: gzip.compress(b[:500]) + gzip.compress(b[500:]), "gzip"),
    "gzip_name_in_head": (lambda b: b"\x1f\x8b\x08\x08\0\0\0\0\0\x03name.jpg\0" + gzip.compress(b)[10:], "gzip"),
    "gzip_zeros_after": (lambda b: gzip.compress(b) + bytes(64), "gzip"),
    "gzip_of_deflate_label": (gzip.compress, "deflate"),
    "zlib_of_gzip_label": (zlib.compress, "gzip"),
}
TASTE = {"gzip_zeros_after", "gzip_of_deflate_label", "zlib_of_gzip_label", "gzip_twice_once_sent"}


def register_kept(name, pack, label):
    @kind(f"encodings/{name}", rows=6)
    def make(row):
        headers = [] if label is None else [f"Content-Encoding: {label}"]
        row.page(answer(pack(row.photo()), *headers))
        if name in TASTE:
            row.drop(*GONE)


for _name, (_pack, _label) in KEPT.items():
    register_kept(_name, _pack, _label)


@kind("encodings/gzip_chunked")
def gzip_chunked(row):
    row.page(chunked(gzip.compress(row.photo()), "Content-Encoding: gzip", size=100))


@kind("encodings/gzip_until_close")
def gzip_until_close(row):
    row.page(head("Content-Encoding: gzip", "Content-Type: image/jpeg") + gzip.compress(row.photo()))


@kind("encodings/gzip_two_headers", rows=3)
def gzip_two_headers(row):
    row.page(answer(gzip.compress(gzip.compress(row.photo())), "Content-Encoding: gzip", "Content-Encoding: gzip"))


@kind("encodings/transfer_gzip", rows=3)
def transfer_gzip(row):
    row.page(chunked(gzip.compress(row.photo()), "Transfer-Encoding: gzip, chunked").replace(b"Transfer-Encoding: chunked\r\n", b"", 1))
    row.drop(*GONE)


@kind("encodings/gzip_cut", rows=6)
def gzip_cut(row):
    packed = gzip.compress(row.jpeg())
    row.page(answer(packed[:len(packed) * (row.number + 1) // 8], "Content-Encoding: gzip"))
    row.drop(*GONE)


@kind("encodings/gzip_end_missing", rows=3)
def gzip_end_missing(row):
    row.page(answer(gzip.compress(row.photo())[:-8], "Content-Encoding: gzip"))
    row.drop(*GONE)


@kind("encodings/gzip_wrong_sum", rows=3)
def gzip_wrong_sum(row):
    row.page(answer(gzip.compress(row.photo())[:-8] + b"\1\2\3\4\5\6\7\x08", "Content-Encoding: gzip"))
    row.drop(*GONE)


@kind("encodings/gzip_broken_inside", rows=4)
def gzip_broken_inside(row):
    packed = bytearray(gzip.compress(row.jpeg()))
    for at in range(len(packed) // 2, len(packed) // 2 + 40):
        packed[at] ^= 0x5A
    row.page(answer(bytes(packed), "Content-Encoding: gzip"))
    row.drop(*GONE)


@kind("encodings/gzip_of_page", rows=3)
def gzip_of_page(row):
    row.page(answer(gzip.compress(b"<html>gone</html>"), "Content-Encoding: gzip", kind="text/html"))
    row.drop("not_an_image")


@kind("encodings/gzip_empty", rows=3)
def gzip_empty(row):
    row.page(answer(b"", "Content-Encoding: gzip"))
    row.drop("not_an_image", "bad_response", "corrupt")


@kind("encodings/gzip_head_alone", rows=3)
def gzip_head_alone(row):
    row.page(answer(gzip.compress(b"x")[:10], "Content-Encoding: gzip"))
    row.drop(*GONE)


@kind("encodings/brotli_really", rows=3)
def brotli_really(row):
    row.page(answer(b"\x0b\x02\x80" + os.urandom(3000) + b"\x03", "Content-Encoding: br"))
    row.drop(*GONE)


@kind("encodings/compress_lzw", rows=2)
def compress_lzw(row):
    row.page(answer(b"\x1f\x9d\x90" + os.urandom(3000), "Content-Encoding: compress"))
    row.drop(*GONE)


@kind("encodings/hundred_labels", rows=2)
def hundred_labels(row):
    packed = row.jpeg()
    for _ in range(100):
        packed = gzip.compress(packed, 1)
    row.page(answer(packed, "Content-Encoding: " + ", ".join(["gzip"] * 100)))
    row.photo()
    row.drop(*GONE, "too_large")


@kind("encodings/keep_alive_after_gzip", rows=6, one_host=True)
def keep_alive_after_gzip(row):
    row.page(Keep(answer(gzip.compress(row.photo()), "Content-Encoding: gzip")))
