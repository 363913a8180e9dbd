"""JPEG files of every kind that libjpeg-turbo reads, small, from a random generator: Pillow's own, files of samplings
that Pillow does not write (by an encoder below), and progressive files without their last scans."""
import io
import struct

import numpy as np
from PIL import Image, ImageFile

# Pillow takes noise at the best quality only if there is room.
ImageFile.MAXBLOCK = 1 << 20
ZIGZAG = [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50,
          43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63]
WAVES = np.array([[np.cos((2 * x + 1) * u * np.pi / 16) * (0.5 if u else 0.125**0.5) for x in range(8)] for u in range(8)])


def scene(rng, width, height, channels):
    """Waves, grain, and now and then edges or nothing but noise."""
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for _ in range(channels):
        plane = 128 + rng.uniform(10, 120) * np.sin(x / rng.uniform(1, 12) + y / rng.uniform(1, 12) + rng.uniform(0, 6))
        plane = plane + rng.normal(0, rng.choice([0, 4, 30]), (height, width))
        if rng.random() < 0.2:
            plane = 255.0 * (plane > 128)
        planes.append(plane)
    if rng.random() < 0.1:
        planes = [rng.integers(0, 256, (height, width)) for _ in range(channels)]
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def pillow(rng, width, height):
    """A file that Pillow writes."""
    mode = rng.choice(["L", "RGB", "RGB", "RGB", "CMYK"])
    pixels = scene(rng, width, height, {"L": 1, "RGB": 3, "CMYK": 4}[mode])
    image = Image.fromarray(pixels[:, :, 0] if mode == "L" else pixels, mode=str(mode))
    options = {"quality": int(rng.choice([1, 5, 20, 50, 75, 90, 95, 100]))}
    if mode == "RGB":
        options["subsampling"] = int(rng.integers(0, 3))
        if rng.random() < 0.1:
            options.update(keep_rgb=True, subsampling=0)
    if rng.random() < 0.4:
        options["progressive"] = True
    if rng.random() < 0.3:
        options["optimize"] = True
    if rng.random() < 0.3:
        options["restart_marker_blocks"] = int(rng.integers(1, 5))
    if rng.random() < 0.2:
        exif = Image.Exif()
        exif[0x112] = int(rng.integers(1, 9))
        options["exif"] = exif
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    file = out.getvalue()
    if mode == "CMYK" and rng.random() < 0.5:
        file = adobe_says(file, 2)
    return file


def adobe_says(file, colours):
    """The same coefficients with other colours in Adobe's marker; None takes the marker out."""
    at = file.index(b"\xff\xee")
    if colours is None:
        return file[:at] + file[at + 2 + struct.unpack(">H", file[at + 2 : at + 4])[0] :]
    return file[: at + 15] + bytes([colours]) + file[at + 16 :]


def without_last_scans(rng, file):
    """A progressive file that ends after some of its scans."""
    scans = [at for at in range(len(file) - 1) if file[at] == 0xFF and file[at + 1] == 0xDA]
    keep = int(rng.integers(1, len(scans)))
    end = scans[keep]
    # Tables between scans belong to the next one.
    while (table := file.rfind(b"\xff\xc4", scans[keep - 1], end)) >= 0:
        end = table
    return file[:end] + b"\xff\xd9"


def segment(marker, content):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


class Bits:
    def __init__(self):
        self.text = []

    def put(self, value, length):
        if length:
            self.text.append(format(value, f"0{length}b"))

    def bytes(self):
        text = "".join(self.text)
        text += "1" * (-len(text) % 8)
        return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8)).replace(b"\xff", b"\xff\x00")


def flat_table(symbols):
    """A Huffman table of codes of one length."""
    length = max(1, len(symbols).bit_length())
    counts = [0] * 16
    counts[length - 1] = len(symbols)
    return bytes(counts) + bytes(symbols), {s: (code, length) for code, s in enumerate(symbols)}


DC = flat_table(range(12))
AC = flat_table([0x00, 0xF0] + [run << 4 | size for run in range(16) for size in range(1, 11)])


def signed(bits, value, size):
    bits.put(value if value > 0 else value + (1 << size) - 1, size)


def put_block(bits, block, before):
    difference = int(block[0] - before)
    size = abs(difference).bit_length()
    bits.put(*DC[1][size])
    signed(bits, difference, size)
    run = 0
    for place in range(1, 64):
        value = int(block[ZIGZAG[place]])
        if value == 0:
            run += 1
            continue
        while run > 15:
            bits.put(*AC[1][0xF0])
            run -= 16
        size = abs(value).bit_length()
        bits.put(*AC[1][run << 4 | size])
        signed(bits, value, size)
        run = 0
    if run:
        bits.put(*AC[1][0])
    return int(block[0])


def blocks_of(plane, steps, across, down):
    """Quantized coefficients of a plane filled up to whole MCUs: rows × columns × 64."""
    height, width = plane.shape
    filled = np.pad(plane.astype(float) - 128, ((0, -height % (8 * down)), (0, -width % (8 * across))), mode="edge")
    tiles = filled.reshape(filled.shape[0] // 8, 8, -1, 8).transpose(0, 2, 1, 3)
    waves = np.einsum("uy,rcyx,vx->rcuv", WAVES, tiles, WAVES)
    limits = np.full(64, 1023)
    limits[0] = 1023
    return np.clip(np.rint(waves.reshape(*waves.shape[:2], 64) / steps), -limits, limits).astype(int)


def encoded(rng, width, height, factors, head=b"", ids=None, interleaved=True, restart=0):
    """A sequential file of components with these sampling factors."""
    most = [max(f[i] for f in factors) for i in (0, 1)]
    ids = ids or list(range(1, len(factors) + 1))
    steps = np.clip(np.rint(rng.uniform(1, rng.choice([2, 20, 120]), 64)), 1, 255).astype(int)
    parts, frame = [], struct.pack(">BHHB", 8, height, width, len(factors))
    for name, (across, down) in zip(ids, factors):
        size = [-(-width * across // most[0]), -(-height * down // most[1])]
        parts.append(blocks_of(scene(rng, *size, 1)[:, :, 0], steps, across, down))
        frame += bytes([name, across << 4 | down, 0])
    table = bytes([0]) + bytes(int(steps[place]) for place in ZIGZAG)
    file = b"\xff\xd8" + head + segment(0xDB, table) + segment(0xC0, frame) + segment(0xC4, b"\x00" + DC[0]) + segment(0xC4, b"\x10" + AC[0])
    if restart:
        file += segment(0xDD, struct.pack(">H", restart))
    groups = [range(len(factors))] if interleaved else [[i] for i in range(len(factors))]
    for group in groups:
        header = bytes([len(group)]) + b"".join(bytes([ids[i], 0]) for i in group) + b"\0\x3f\0"
        file += segment(0xDA, header) + scan(parts, factors, most, group, width, height, restart)
    return file + b"\xff\xd9"


def scan(parts, factors, most, group, width, height, restart):
    mcus = []
    if len(group) == 1:
        (i,) = group
        size = [-(-(-(-s * f // m)) // 8) for s, f, m in zip((width, height), factors[i], most)]
        mcus = [[(i, row, column)] for row in range(size[1]) for column in range(size[0])]
    else:
        for row in range(-(-height // (8 * most[1]))):
            for column in range(-(-width // (8 * most[0]))):
                mcus.append([(i, row * factors[i][1] + v, column * factors[i][0] + h)
                             for i in group for v in range(factors[i][1]) for h in range(factors[i][0])])
    out, bits, before = b"", Bits(), {}
    for number, mcu in enumerate(mcus):
        if restart and number and number % restart == 0:
            out += bits.bytes() + b"\xff" + bytes([0xD0 + (number // restart - 1) % 8])
            bits, before = Bits(), {}
        for i, row, column in mcu:
            before[i] = put_block(bits, parts[i][min(row, len(parts[i]) - 1), min(column, parts[i].shape[1] - 1)], before.get(i, 0))
    return out + bits.bytes()


JFIF = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
THREE = [[(1, 1)] * 3, [(2, 1), (1, 1), (1, 1)], [(2, 2), (1, 1), (1, 1)], [(1, 2), (1, 1), (1, 1)], [(4, 1), (1, 1), (1, 1)], [(1, 4), (1, 1), (1, 1)],
         [(4, 2), (1, 1), (1, 1)], [(2, 2), (2, 1), (1, 2)], [(2, 2), (1, 2), (2, 1)], [(1, 1), (2, 2), (2, 2)], [(2, 1), (1, 2), (1, 1)],
         [(2, 4), (1, 1), (1, 1)], [(3, 1), (1, 1), (1, 1)], [(2, 2), (2, 2), (1, 1)]]
FOUR = [[(1, 1)] * 4, [(2, 2), (1, 1), (1, 1), (2, 2)], [(2, 1), (1, 1), (1, 1), (2, 1)], [(1, 2), (1, 1), (1, 1), (1, 2)]]
ONE = [[(1, 1)], [(2, 2)], [(2, 1)], [(1, 3)]]


def adobe(colours):
    return segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([colours]))


def own(rng, width, height):
    """A file of the encoder above."""
    kind = rng.choice(["one", "three", "three", "three", "four"])
    sets = {"one": ONE, "three": THREE, "four": FOUR}[str(kind)]
    factors = sets[int(rng.integers(len(sets)))]
    head, ids = JFIF, None
    if kind == "three" and rng.random() < 0.4:
        head = [b"", adobe(0), adobe(1), JFIF + adobe(0)][int(rng.integers(4))]
        ids = [None, [82, 71, 66], [7, 5, 9]][int(rng.integers(3))]
    if kind == "four":
        head = [b"", adobe(0), adobe(2), JFIF][int(rng.integers(4))]
    return encoded(rng, width, height, factors, head, ids, interleaved=bool(rng.random() < 0.7), restart=int(rng.choice([0, 0, 1, 3])))


def any_file(rng, width, height):
    if rng.random() < 0.4:
        return own(rng, width, height)
    file = pillow(rng, width, height)
    if b"\xff\xc2" in file and rng.random() < 0.4:
        return without_last_scans(rng, file)
    return file


def decoded(file):
    """What Pillow's convert("RGB") makes of it."""
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
