"""Pictures of every format. They are made from seeds, so that truth and server agree."""
import functools
import io
import random
import struct
import zlib

from PIL import Image, ImageDraw, ImageFilter


@functools.lru_cache(maxsize=512)
def image(seed=0, size=(256, 192), mode="RGB"):
    """A picture with smooth areas, edges and a little noise."""
    rng = random.Random(seed)
    picture = Image.new("RGB", size, tuple(rng.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(24):
        x, y = rng.randrange(size[0]), rng.randrange(size[1])
        w, h = rng.randrange(8, 1 + max(9, size[0] // 2)), rng.randrange(8, 1 + max(9, size[1] // 2))
        draw.ellipse((x - w, y - h, x + w, y + h), fill=tuple(rng.randrange(256) for _ in range(3)))
    picture = picture.filter(ImageFilter.GaussianBlur(2))
    return picture if mode == "RGB" else picture.convert(mode)


def save(picture, form, **options):
    """The file of a picture."""
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


@functools.lru_cache(maxsize=64)
def base_jpeg(seed):
    return save(image(seed), "JPEG", quality=85)


def with_comment(jpeg, text):
    """The JPEG with a comment segment after its SOI."""
    comment = text.encode()
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + jpeg[2:]


def unique_jpeg(key):
    """A JPEG of about 6 kB that no other key has."""
    return with_comment(base_jpeg(zlib.crc32(key.encode()) % 16), key)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth=8, color=2, rows=None, extra=b"", idat=None, interlace=0):
    """A PNG written by hand: `idat` overrides the compressed rows, `extra` stands before them."""
    if idat is None:
        idat = zlib.compress(rows)
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", idat) + png_chunk(b"IEND", b"")


def small_png(extra=b""):
    rows = b"".join(b"\0" + bytes((x * 2 % 256, y * 2 % 256, 90)[c] for x in range(96) for c in range(3)) for y in range(80))
    return png(96, 80, rows=rows, extra=extra)
