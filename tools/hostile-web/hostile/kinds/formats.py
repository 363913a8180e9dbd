"""Pictures of every format, whole and cut, and what is none."""
import functools
import gzip
import io
import json
import struct
import zipfile
import zlib

from PIL import Image

from .. import pictures
from ..answers import answer
from ..kind import kind
from ..pictures import image, save

SIZE = (160, 120)


def alpha(seed):
    picture = image(seed, SIZE).convert("RGBA")
    picture.putalpha(image(seed + 1, SIZE).convert("L"))
    return picture


def frames(seed, count=3):
    return [image(seed * 10 + i, SIZE) for i in range(count)]


def sixteen_bits(seed):
    return Image.frombytes("I;16", SIZE, bytes((i * (seed + 3)) % 251 for i in range(SIZE[0] * SIZE[1] * 2)))


def mono(seed):
    return image(seed, SIZE).convert("1")


def exif(orientation):
    data = Image.Exif()
    data[0x112] = orientation
    return data


def rgb(form, **options):
    return lambda seed: save(image(seed, SIZE), form, **options)


def of(make, form, **options):
    return lambda seed: save(make(seed), form, **options)


def moving(form, **options):
    return lambda seed: save(frames(seed)[0], form, save_all=True, append_images=frames(seed)[1:], **options)


def mode(name):
    return lambda seed: image(seed, SIZE).convert(name)


FORMATS = {
    "jpeg_baseline": rgb("JPEG", quality=80),
    "jpeg_progressive": rgb("JPEG", progressive=True),
    "jpeg_gray": of(mode("L"), "JPEG"),
    "jpeg_cmyk": of(mode("CMYK"), "JPEG"),
    "jpeg_444": rgb("JPEG", subsampling=0),
    "jpeg_422": rgb("JPEG", subsampling=1),
    "jpeg_quality_1": rgb("JPEG", quality=1),
    "jpeg_quality_100": rgb("JPEG", quality=100),
    "jpeg_optimized": rgb("JPEG", optimize=True),
    "jpeg_restarts": rgb("JPEG", restart_marker_blocks=4),
    "jpeg_exif_turned": lambda seed: save(image(seed, SIZE), "JPEG", exif=exif(1 + seed % 8)),
    "jpeg_icc_nonsense": rgb("JPEG", icc_profile=b"\0" * 3000),
    "jpeg_rgb_kept": rgb("JPEG", keep_rgb=True),
    "jpeg_odd_size": lambda seed: save(image(seed, (67 + seed, 71)), "JPEG"),
    "jpeg_bytes_after_end": lambda seed: rgb("JPEG")(seed) + b"trailing garbage" * 50,
    "jpeg_thumbnail_after": lambda seed: rgb("JPEG")(seed) + save(image(99, (64, 64)), "JPEG"),
    "png_rgb": rgb("PNG"),
    "png_rgba": of(alpha, "PNG"),
    "png_gray": of(mode("L"), "PNG"),
    "png_gray_alpha": of(lambda s: alpha(s).convert("LA"), "PNG"),
    "png_palette": of(mode("P"), "PNG"),
    "png_palette_transparent": of(mode("P"), "PNG", transparency=3),
    "png_1_bit": of(mono, "PNG"),
    "png_2_bit": of(lambda s: image(s, SIZE).quantize(4), "PNG", bits=2),
    "png_16_bit_gray": of(sixteen_bits, "PNG"),
    "png_16_bit_rgb": lambda seed: pictures.png(96, 80, depth=16, rows=b"".join(b"\0" + bytes((seed * 7 + i) % 256 for i in range(96 * 6)) for _ in range(80))),
    "png_bytes_after_end": lambda seed: rgb("PNG")(seed) + b"x" * 1000,
    "png_moving": moving("PNG"),
    "webp_lossy": rgb("WEBP", quality=70),
    "webp_lossless": rgb("WEBP", lossless=True),
    "webp_alpha": of(alpha, "WEBP"),
    "webp_moving": moving("WEBP", duration=50),
    "webp_exif": lambda seed: save(image(seed, SIZE), "WEBP", exif=exif(6)),
    "gif_still": rgb("GIF"),
    "gif_moving": moving("GIF", duration=50, loop=0),
    "gif_gray": of(mode("L"), "GIF"),
    "gif_transparent": of(lambda s: alpha(s).convert("P"), "GIF", transparency=0),
    "gif_interlaced": rgb("GIF", interlace=1),
    "bmp_24": rgb("BMP"),
    "bmp_32": of(alpha, "BMP"),
    "bmp_8": of(mode("P"), "BMP"),
    "bmp_gray": of(mode("L"), "BMP"),
    "bmp_1": of(mono, "BMP"),
    "tiff_raw": rgb("TIFF"),
    "tiff_lzw": rgb("TIFF", compression="tiff_lzw"),
    "tiff_deflate": rgb("TIFF", compression="tiff_adobe_deflate"),
    "tiff_packbits": rgb("TIFF", compression="packbits"),
    "tiff_gray": of(mode("L"), "TIFF"),
    "tiff_pages": moving("TIFF"),
    "avif": rgb("AVIF", quality=60, speed=10),
    "avif_alpha": of(alpha, "AVIF", speed=10),
    "avif_444": rgb("AVIF", subsampling="4:4:4", speed=10),
}


@functools.lru_cache(maxsize=None)
def picture(name, seed):
    return FORMATS[name](seed)


TYPES = ["image/jpeg", "application/octet-stream", "text/html", "image/png", "image/webp"]


def whole(name):
    @kind(f"formats/{name}", rows=3)
    def make(row):
        row.page(answer(row.photo(picture(name, row.number)), kind=TYPES[(row.number + len(name)) % len(TYPES)]))


def cut(name, rows=5):
    @kind(f"cut/{name}", rows=rows)
    def make(row):
        data = picture(name, 0)
        at = len(data) * (row.number + 1) // (rows + 1) if row.number < rows - 1 else int(len(data) * 0.98)
        row.page(answer(data[:at]))
        row.drop("corrupt")


for _name in FORMATS:
    whole(_name)
for _name in ("jpeg_baseline", "jpeg_progressive", "jpeg_cmyk", "png_rgb", "png_palette", "png_16_bit_gray", "webp_lossy", "webp_lossless", "webp_alpha",
              "gif_still", "bmp_24", "bmp_8", "tiff_raw", "tiff_lzw", "tiff_deflate", "avif", "avif_alpha"):
    cut(_name)


@kind("cut/first_bytes", rows=8)
def first_bytes(row):
    name, length = [("jpeg_baseline", 4), ("jpeg_baseline", 20), ("png_rgb", 8), ("png_rgb", 33), ("gif_still", 6), ("gif_still", 13), ("webp_lossy", 12), ("bmp_24", 54)][row.number]
    row.page(answer(picture(name, 0)[:length]))
    row.drop("corrupt", "not_an_image")


@kind("cut/jpeg_filled_with_zeros", rows=4)
def filled_with_zeros(row):
    data = picture("jpeg_baseline", row.number)
    row.page(answer(data[:len(data) // 2] + bytes(len(data) // 2)))
    row.drop("corrupt")


@kind("cut/png_wrong_sum", rows=4)
def png_wrong_sum(row):
    data = bytearray(picture("png_rgb", row.number))
    data[len(data) // 2] ^= 0xFF
    row.page(answer(bytes(data)))
    row.drop("corrupt")


@kind("cut/other_format_after_half", rows=3)
def other_format_after_half(row):
    data = picture("jpeg_baseline", row.number)
    row.page(answer(data[:len(data) // 2] + b"<html><body>502 Bad Gateway</body></html>"))
    row.drop("corrupt")


def archive():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("x.jpg", picture("jpeg_baseline", 0))
    return out.getvalue()


NONE = {
    "html": [b"<!DOCTYPE html><html><body>Not found</body></html>", b"<html>" + b"x" * 50_000, b"\n\n  <HTML>", b"<script>1</script>"],
    "empty": [b"", b"\n", b"\0", b" "],
    "json": [b"{}", b'{"error": 404}', b"[]", json.dumps({"data": "x" * 1000}).encode()],
    "svg": [b'<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100"/>', b'<?xml version="1.0"?><svg/>',
            b'<svg><image href="file:///etc/passwd"/></svg>', gzip.compress(b"<svg/>")],
    "pdf": [b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n", b"%!PS-Adobe-3.0\n"],
    "text": [b"GONE", b"404", b"Too many requests", b"data:image/png;base64,iVBORw0KGgo="],
    "archive": [archive(), b"Rar!\x1a\x07\0" + bytes(100), b"7z\xbc\xaf\x27\x1c" + bytes(100), zlib.compress(b"x" * 1000)],
    "media": [b"\0\0\0\x18ftypmp42" + bytes(200), b"\x1aE\xdf\xa3" + bytes(200), b"ID3\x03" + bytes(200), b"RIFF\x24\0\0\0WAVEfmt " + bytes(200)],
    "executable": [b"\x7fELF" + bytes(200), b"MZ" + bytes(200), b"\xca\xfe\xba\xbe" + bytes(100), b"#!/bin/sh\nrm -rf /\n"],
    "other_pictures": [b"8BPS\0\x01" + bytes(200), b"\0\0\1\0\1\0" + bytes(200), b"P6\n2 2\n255\n" + bytes(12), b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(200), b"\xff\x0a" + bytes(50)],
    "base64": [b"/9j/4AAQSkZJRgABAQAAAQABAAD", b"iVBORw0KGgoAAAANSUhEUgAA"],
    "random": [bytes((i * i * 31 + 7) % 256 for i in range(3000)), bytes(5000), b"\xff" * 5000],
}


def nothing(name, bodies):
    @kind(f"no_image/{name}", rows=len(bodies))
    def make(row):
        row.page(answer(bodies[row.number]))
        row.drop("not_an_image", "corrupt") if name in ("other_pictures", "media", "archive") else row.drop("not_an_image")


for _name, _bodies in NONE.items():
    nothing(_name, _bodies)


@kind("formats/too_small", rows=5)
def too_small(row):
    size = [(1, 1), (20, 20), (63, 200), (200, 63), (1, 5000)][row.number]
    row.page(answer(save(image(row.number, size), "PNG")))
    row.drop("too_small")


@kind("formats/just_large_enough", rows=3)
def just_large_enough(row):
    row.page(answer(row.photo(save(image(row.number, [(64, 64), (64, 300), (300, 64)][row.number]), "PNG"))))


@kind("formats/jpeg_12_bit", rows=2)
def jpeg_12_bit(row):
    data = picture("jpeg_baseline", row.number)
    at = data.index(b"\xff\xc0")
    row.page(answer(data[:at] + b"\xff\xc1" + data[at + 2:at + 4] + b"\x0c" + data[at + 5:]))
    row.drop("corrupt")


@kind("formats/jpeg_arithmetic", rows=2)
def jpeg_arithmetic(row):
    row.page(answer(picture("jpeg_baseline", row.number).replace(b"\xff\xc0", b"\xff\xc9", 1)))
    row.drop("corrupt")


@kind("formats/jpeg_lossless_mark", rows=2)
def jpeg_lossless_mark(row):
    row.page(answer(picture("jpeg_baseline", row.number).replace(b"\xff\xc0", b"\xff\xc3", 1)))
    row.drop("corrupt")


@kind("formats/bytes_before", rows=3)
def bytes_before(row):
    row.page(answer([b"\n", b"<!-- -->", b"\xef\xbb\xbf"][row.number] + row.jpeg()))
    row.drop("not_an_image")


@kind("formats/two_formats", rows=2)
def two_formats(row):
    """A picture that is a page, too: what decodes counts."""
    row.page(answer(row.photo(pictures.with_comment(row.jpeg(), "<script>alert(1)</script>" * 20)), kind="text/html"))


@kind("formats/webp_wrong_size_in_head", rows=2)
def webp_wrong_size(row):
    data = picture("webp_lossy", row.number)
    row.page(answer(row.photo(data[:4] + struct.pack("<I", len(data) * 2) + data[8:])))
    row.drop("corrupt")
