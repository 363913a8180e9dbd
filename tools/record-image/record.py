"""Writes small image files of every format and mode that the web has, and what Pillow makes of each: `convert("RGB")` of the first frame.

    pip install pillow==12.0.0 numpy && python record.py ../../models/image/tests/fixtures
"""
import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence, PngImagePlugin

W, H = 37, 29


def scene(rng, w=W, h=H):
    y, x = np.mgrid[0:h, 0:w]
    waves = [60 * np.sin(x / rng.uniform(3, 9) + y / rng.uniform(3, 9) + rng.uniform(0, 6)) for _ in range(3)]
    return Image.fromarray(np.clip(np.stack(waves, -1) + rng.uniform(90, 160) + rng.normal(0, 6, (h, w, 3)), 0, 255).astype(np.uint8))


def saved(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def png(width, height, depth, colour, rows, interlace=0, extra=b""):
    """A PNG of raw rows (bytes each), without Pillow's choices."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r for r in rows))) + chunk(b"IEND", b"")


def adam7(pixels):
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        part = pixels[y0::dy, x0::dx]
        if part.size:
            yield from (row.tobytes() for row in part)


def pngs(a, rng):
    rgb = np.asarray(a)
    gray = np.asarray(a.convert("L"))
    wide = (gray.astype(np.uint16) << 8 | rng.integers(0, 256, gray.shape, dtype=np.uint16)).astype(">u2")
    wide_rgb = (rgb.astype(np.uint16) << 8 | rng.integers(0, 256, rgb.shape, dtype=np.uint16)).astype(">u2")
    alpha = np.dstack([rgb, 255 - gray])
    yield "rgb.png", saved(a, "PNG")
    yield "gray.png", saved(a.convert("L"), "PNG")
    yield "gray-alpha.png", saved(Image.merge("LA", (a.convert("L"), a.convert("L"))), "PNG")
    yield "rgba.png", saved(Image.fromarray(alpha), "PNG")
    yield "palette.png", saved(a.quantize(200), "PNG")
    yield "palette-4bit.png", saved(a.quantize(13), "PNG", bits=4)
    yield "palette-alpha.png", saved(a.quantize(50), "PNG", transparency=bytes(range(50)))
    yield "one-bit.png", saved(a.convert("1"), "PNG")
    yield "gray-transparent.png", saved(a.convert("L"), "PNG", transparency=90)
    yield "gray-16bit.png", png(W, H, 16, 0, [r.tobytes() for r in wide])
    yield "rgb-16bit.png", png(W, H, 16, 2, [r.tobytes() for r in wide_rgb])
    yield "gray-alpha-16bit.png", png(W, H, 16, 4, [r.tobytes() for r in np.dstack([wide, wide[::-1]])])
    yield "interlaced.png", png(W, H, 8, 2, list(adam7(rgb)), interlace=1)
    frames = [a, a.rotate(90).resize(a.size)]
    yield "animated.png", saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 5000, zip=True)
    yield "text.png", saved(a, "PNG", pnginfo=text)


def jpegs(a):
    yield "444.jpg", saved(a, "JPEG", quality=90, subsampling=0)
    yield "422.jpg", saved(a, "JPEG", quality=90, subsampling=1)
    yield "420.jpg", saved(a, "JPEG", quality=90, subsampling=2)
    yield "gray.jpg", saved(a.convert("L"), "JPEG", quality=90)
    yield "progressive.jpg", saved(a, "JPEG", quality=90, progressive=True, subsampling=2)
    yield "progressive-gray.jpg", saved(a.convert("L"), "JPEG", quality=90, progressive=True)
    yield "restarts.jpg", saved(a, "JPEG", quality=90, restart_marker_blocks=2)
    yield "optimized.jpg", saved(a, "JPEG", quality=75, optimize=True)
    yield "cmyk.jpg", saved(a.convert("CMYK"), "JPEG", quality=95)
    yield "ycck.jpg", ycck(saved(a.convert("CMYK"), "JPEG", quality=95))
    yield "rgb.jpg", saved(a, "JPEG", quality=95, keep_rgb=True)


def ycck(file):
    """The same coefficients, said to be YCCK."""
    at = file.index(b"Adobe")
    return file[: at + 11] + b"\x02" + file[at + 12 :]


def gifs(a, rng):
    b = a.rotate(180)
    yield "plain.gif", saved(a.quantize(128), "GIF")
    yield "interlaced.gif", saved(a.quantize(128), "GIF", interlace=1)
    yield "animated.gif", saved(a.quantize(64), "GIF", save_all=True, append_images=[b.quantize(64), a.quantize(32)], duration=50, loop=0)
    yield "transparent.gif", saved(a.quantize(64), "GIF", transparency=3)
    yield "gray.gif", saved(a.convert("L"), "GIF")
    yield "small-frame.gif", small_frame(a, background=2, transparency=None)
    yield "small-frame-transparent.gif", small_frame(a, background=2, transparency=1)


def small_frame(a, background, transparency):
    """A first frame that does not fill its canvas."""
    file = bytearray(saved(a.quantize(16), "GIF", **({} if transparency is None else {"transparency": transparency})))
    file[6:10] = struct.pack("<HH", W + 12, H + 9)
    file[11] = background
    at = file.rindex(b"\x2c\0\0\0\0" + struct.pack("<HH", W, H))
    file[at + 1 : at + 5] = struct.pack("<HH", 5, 4)
    return bytes(file)


def bmps(a, rng):
    rgb = np.asarray(a)
    yield "rgb.bmp", saved(a, "BMP")
    yield "palette.bmp", saved(a.quantize(100), "BMP")
    yield "gray.bmp", saved(a.convert("L"), "BMP")
    yield "one-bit.bmp", saved(a.convert("1"), "BMP")
    yield "rgba.bmp", saved(a.convert("RGBA"), "BMP")
    rows = [np.dstack([r[None, :, ::-1], np.zeros((1, W, 1), np.uint8)]).tobytes() for r in rgb]
    head = struct.pack("<IiiHHIIiiII", 40, W, -H, 1, 32, 0, W * H * 4, 2835, 2835, 0, 0)
    yield "top-down-32bit.bmp", b"BM" + struct.pack("<IHHI", 54 + W * H * 4, 0, 0, 54) + head + b"".join(rows)
    five = (rgb[::-1].astype(np.uint16) >> 3) @ np.array([1024, 32, 1], dtype=np.uint16)
    pad = b"\0\0" * (W % 2)
    head = struct.pack("<IiiHHIIiiII", 40, W, H, 1, 16, 0, 0, 2835, 2835, 0, 0)
    yield "16bit.bmp", b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + head + b"".join(r.astype("<u2").tobytes() + pad for r in five)
    indexes = np.asarray(a.quantize(4))
    rle = b"".join(b"".join(bytes([1, v]) for v in row) + b"\0\0" for row in indexes[::-1]) + b"\0\1"
    palette = b"".join(bytes([k * 60, 255 - k * 50, k * 20, 0]) for k in range(256 // 64)) + bytes(4 * 252)
    head = struct.pack("<IiiHHIIiiII", 40, W, H, 1, 8, 1, len(rle), 2835, 2835, 256, 0)
    yield "rle8.bmp", b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + head + palette + rle


def tiffs(a):
    gray = np.asarray(a.convert("L"))
    yield "rgb.tif", saved(a, "TIFF")
    for name in ("lzw", "adobe_deflate", "packbits"):
        yield f"{name}.tif", saved(a, "TIFF", compression=f"tiff_{name}" if name != "packbits" else "packbits")
    yield "gray.tif", saved(a.convert("L"), "TIFF")
    yield "rgba.tif", saved(a.convert("RGBA"), "TIFF")
    yield "one-bit.tif", saved(a.convert("1"), "TIFF")
    yield "palette.tif", saved(a.quantize(60), "TIFF")
    yield "cmyk.tif", saved(a.convert("CMYK"), "TIFF")
    yield "gray-16bit.tif", saved(Image.fromarray(gray.astype(np.uint16) * 257), "TIFF")
    yield "pages.tif", saved(a, "TIFF", save_all=True, append_images=[a.rotate(180)])
    yield "jpeg.tif", saved(a, "TIFF", compression="jpeg", quality=90)
    yield "group4.tif", saved(a.convert("1"), "TIFF", compression="group4")


def webps(a):
    yield "lossy.webp", saved(a, "WEBP", quality=85)
    yield "lossless.webp", saved(a, "WEBP", lossless=True)
    alpha = a.convert("RGBA")
    alpha.putalpha(a.convert("L"))
    yield "lossy-alpha.webp", saved(alpha, "WEBP", quality=85)
    yield "lossless-alpha.webp", saved(alpha, "WEBP", lossless=True, exact=True)
    yield "animated.webp", saved(a, "WEBP", save_all=True, append_images=[a.rotate(180)], lossless=True)


def avifs(a):
    for subsampling in ("4:4:4", "4:2:2", "4:2:0", "4:0:0"):
        yield f"{subsampling.replace(':', '')}.avif", saved(a, "AVIF", quality=90, subsampling=subsampling)
    yield "limited-range.avif", saved(a, "AVIF", quality=90, range="limited")
    alpha = a.convert("RGBA")
    alpha.putalpha(a.convert("L"))
    yield "alpha.avif", saved(alpha, "AVIF", quality=90)
    yield "animated.avif", saved(a, "AVIF", quality=90, save_all=True, append_images=[a.rotate(180)])


if __name__ == "__main__":
    out, rng = Path(sys.argv[1]), np.random.default_rng(3)
    a = scene(rng)
    for name, file in [*pngs(a, rng), *jpegs(a), *gifs(a, rng), *bmps(a, rng), *tiffs(a), *webps(a), *avifs(a)]:
        try:
            image = Image.open(io.BytesIO(file))
            # Of 16-bit gray Pillow makes white, by clipping: the high byte is meant.
            pixels = (Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)) if image.mode.startswith("I;16") else image).convert("RGB")
        except Exception as error:
            print(name, "not read by Pillow:", error)
            continue
        (out / name).write_bytes(file)
        pixels.save(out / f"{name}.expected.png", optimize=True)
