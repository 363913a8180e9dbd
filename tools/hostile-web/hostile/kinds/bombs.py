"""Small answers that want much memory or time."""
import gzip
import struct
import zlib

from .. import pictures
from ..answers import answer, chunks, head
from ..kind import kind
from ..pictures import png, png_chunk, save, small_png

BIG = ("too_large", "corrupt")


def zeros(count):
    """Compressed zeros."""
    squeeze, out, block = zlib.compressobj(9), b"", bytes(1 << 20)
    for _ in range(count >> 20):
        out += squeeze.compress(block)
    return out + squeeze.flush()


ZEROS_200_MB = zeros(200 << 20)


def gzip_zeros():
    """A gzip of 200 MB of zeros in 200 kB."""
    raw = ZEROS_200_MB[2:-4]
    return b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + raw + struct.pack("<II", zlib.crc32(bytes(200 << 20)), 200 << 20)


GZIP_200_MB = gzip_zeros()


@kind("bombs/gzip_200_mb", rows=4)
def gzip_bomb(row):
    row.page(answer(GZIP_200_MB, "Content-Encoding: gzip"))
    row.drop("too_large", "bad_response")


@kind("bombs/gzip_twice", rows=3)
def gzip_twice(row):
    row.page(answer(gzip.compress(GZIP_200_MB), "Content-Encoding: gzip, gzip"))
    row.drop("too_large", "bad_response", "not_an_image")


@kind("bombs/gzip_silent", rows=3)
def gzip_silent(row):
    row.page(answer(GZIP_200_MB))
    row.drop("too_large", "bad_response", "not_an_image")


@kind("bombs/gzip_three_layers", rows=2)
def gzip_three_layers(row):
    """100 kB that are 100 GB three times unpacked."""
    row.page(answer(gzip.compress(gzip.compress(GZIP_200_MB * 20)), "Content-Encoding: gzip, gzip, gzip"))
    row.drop("too_large", "bad_response", "not_an_image")


@kind("bombs/deflate_in_gzip", rows=2)
def deflate_in_gzip(row):
    row.page(answer(gzip.compress(ZEROS_200_MB), "Content-Encoding: deflate, gzip"))
    row.drop("too_large", "bad_response", "not_an_image")


@kind("bombs/gzip_chunked_without_end", rows=2)
def gzip_without_end(row):
    """Packed zeros for ever."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    first = squeeze.compress(bytes(1 << 20)) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    more = squeeze.compress(bytes(1 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)

    async def page(exchange):
        await exchange.send(head("Transfer-Encoding: chunked", "Content-Encoding: gzip") + chunks(first, last=False))
        while True:
            await exchange.send(chunks(more, last=False))
    row.page(page)
    row.drop("too_large", "bad_response", "timeout")


@kind("bombs/deflate_200_mb", rows=3)
def deflate_bomb(row):
    row.page(answer(ZEROS_200_MB, "Content-Encoding: deflate"))
    row.drop("too_large", "bad_response")


@kind("bombs/body_without_end", rows=2)
def body_without_end(row):
    async def page(exchange):
        await exchange.send(head("Content-Type: image/jpeg") + row.jpeg())
        while True:
            await exchange.send(bytes(1 << 20))
    row.page(page)
    row.drop("too_large")


@kind("bombs/body_without_end_chunked", rows=2)
def body_without_end_chunked(row):
    async def page(exchange):
        await exchange.send(head("Transfer-Encoding: chunked") + chunks(row.jpeg(), last=False))
        while True:
            await exchange.send(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
    row.page(page)
    row.drop("too_large")


@kind("bombs/length_200_mb", rows=3)
def length_200_mb(row):
    async def page(exchange):
        await exchange.send(head(f"Content-Length: {200 << 20}") + row.jpeg())
        while True:
            await exchange.send(bytes(1 << 20))
    row.page(page)
    row.drop("too_large")


SIDES = [(50_000, 50_000), (65_535, 65_535), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1), (2**31 - 1, 64)]


@kind("bombs/png_pixels", rows=len(SIDES))
def png_pixels(row):
    row.page(answer(png(*SIDES[row.number], idat=ZEROS_200_MB[:5000])))
    row.drop(*BIG)


@kind("bombs/png_pixels_with_data", rows=2)
def png_pixels_with_data(row):
    row.page(answer(png(20_000, 20_000, depth=1, color=0, idat=zeros(50 << 20))))
    row.drop(*BIG)


@kind("bombs/png_profile_200_mb", rows=3)
def png_profile(row):
    row.page(answer(row.photo(small_png(png_chunk(b"iCCP", b"x\0\0" + ZEROS_200_MB)))))
    row.drop(*BIG)


@kind("bombs/png_text_200_mb", rows=3)
def png_text(row):
    row.page(answer(row.photo(small_png(png_chunk(b"zTXt", b"x\0\0" + ZEROS_200_MB)))))
    row.drop(*BIG)


@kind("bombs/png_data_beyond_rows", rows=3)
def png_data_beyond(row):
    row.page(answer(row.photo(png(96, 80, idat=ZEROS_200_MB))))
    row.drop(*BIG)


@kind("bombs/png_100000_chunks", rows=2)
def png_chunks(row):
    row.page(answer(row.photo(small_png(png_chunk(b"tEXt", b"a\0b") * 100_000))))
    row.drop(*BIG)


def jpeg_of_size(width, height):
    data = bytearray(pictures.base_jpeg(0))
    at = data.index(b"\xff\xc0")
    data[at + 5:at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@kind("bombs/jpeg_pixels", rows=4)
def jpeg_pixels(row):
    row.page(answer(jpeg_of_size(*[(65_500, 65_500), (65_535, 2_000), (20_000, 20_000), (65_535, 65_535)][row.number])))
    row.drop(*BIG)


@kind("bombs/jpeg_below_the_limit", rows=4)
def jpeg_below(row):
    """The size is allowed, the data for it is missing."""
    row.page(answer(jpeg_of_size(9_900, 9_900)))
    row.drop("corrupt")


@kind("bombs/jpeg_1000_scans", rows=2)
def jpeg_scans(row):
    data = save(pictures.image(row.number), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    scan = data[at:-2]
    row.page(answer(row.photo(data[:at] + scan * 1000 + b"\xff\xd9")))
    row.drop(*BIG)


@kind("bombs/gif_pixels", rows=3)
def gif_pixels(row):
    data = bytearray(save(pictures.image(1, (100, 100)), "GIF"))
    data[6:10] = struct.pack("<HH", 65_535, 65_535)
    row.page(answer(bytes(data)))
    row.drop(*BIG)


@kind("bombs/gif_5000_frames", rows=2)
def gif_frames(row):
    first = save(pictures.image(row.number, (80, 80)), "GIF")
    at = first.index(b",", 13 + 3 * 2 ** ((first[10] & 7) + 1))
    row.page(answer(row.photo(first[:-1] + first[at:-1] * 300 + b";")))


@kind("bombs/webp_pixels", rows=3)
def webp_pixels(row):
    bits = (16_383 | 16_383 << 14).to_bytes(4, "little")
    payload = b"VP8L" + struct.pack("<I", 6) + b"\x2f" + bits + b"\0"
    row.page(answer(b"RIFF" + struct.pack("<I", len(payload) + 4) + b"WEBP" + payload))
    row.drop(*BIG)


@kind("bombs/bmp_pixels", rows=4)
def bmp_pixels(row):
    data = bytearray(save(pictures.image(1, (100, 100)), "BMP"))
    data[18:26] = struct.pack("<ii", *[(60_000, 60_000), (2**31 - 1, 2**31 - 1), (-100, 100), (100, -2**31)][row.number])
    row.page(answer(bytes(data)))
    row.drop(*BIG, "too_small")


@kind("bombs/tiff_pixels", rows=3)
def tiff_pixels(row):
    data = save(pictures.image(1, (100, 100)), "TIFF")
    entry = struct.pack("<HHI", 256, 4, 1) + struct.pack("<I", 100)
    short = struct.pack("<HHI", 256, 3, 1) + struct.pack("<I", 100)
    huge = struct.pack("<HHI", 256, 4, 1) + struct.pack("<I", 2**31 - 1 - row.number)
    row.page(answer(data.replace(entry, huge).replace(short, huge)))
    row.drop(*BIG)


@kind("bombs/tiff_loop_of_pages", rows=2)
def tiff_loop(row):
    """The first page says that it is followed by itself."""
    data = bytearray(save(pictures.image(row.number, (100, 90)), "TIFF"))
    at, = struct.unpack("<I", data[4:8])
    count, = struct.unpack("<H", data[at:at + 2])
    data[at + 2 + 12 * count:at + 6 + 12 * count] = struct.pack("<I", at)
    row.page(answer(row.photo(bytes(data))))
    row.drop("corrupt")


@kind("bombs/avif_pixels", rows=2)
def avif_pixels(row):
    data = save(pictures.image(1, (100, 100)), "AVIF", speed=10)
    row.page(answer(data.replace(b"ispe\0\0\0\0" + struct.pack(">II", 100, 100), b"ispe\0\0\0\0" + struct.pack(">II", 60_000, 60_000))))
    row.drop(*BIG)


@kind("bombs/body_of_19_mb", rows=2)
def body_of_19_mb(row):
    row.page(answer(row.photo(row.jpeg() + bytes(19 << 20))))


@kind("bombs/body_of_21_mb", rows=3)
def body_of_21_mb(row):
    row.page(answer(row.jpeg() + bytes(21 << 20)))
    row.drop("too_large")


LARGE = {
    "png": lambda: save(pictures.Image.new("RGB", (9_900, 9_900), (30, 60, 90)), "PNG", compress_level=9),
    "gif": lambda: save(pictures.Image.new("P", (9_900, 9_900), 1), "GIF"),
    "webp": lambda: save(pictures.Image.new("RGB", (9_900, 9_900), (30, 60, 90)), "WEBP", lossless=True, method=0, quality=0),
    "tiff": lambda: save(pictures.Image.new("RGB", (9_900, 9_900), (30, 60, 90)), "TIFF", compression="tiff_adobe_deflate"),
    "bmp": lambda: save(pictures.Image.new("1", (9_900, 9_900), 1), "BMP"),
    "jpeg": lambda: save(pictures.Image.new("RGB", (9_900, 9_900), (30, 60, 90)), "JPEG", progressive=True),
}


def below_the_limit(name, make):
    """98 megapixels in a small file: a photo, if one that wants much memory."""
    @kind(f"bombs/{name}_of_98_megapixels", rows=3)
    def page(row):
        if name not in made:
            made[name] = make()
        row.page(answer(row.photo(made[name])))
        if name == "webp":
            # It has no rows that could be let go of: proving it takes 800 MB.
            row.drop("too_large")


made = {}
for _name, _make in LARGE.items():
    below_the_limit(_name, _make)
