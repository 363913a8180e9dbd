"""Records what Pillow makes of small JPEGs of every kind, for models/image/tests/it/jpeg.rs.

    pip install pillow numpy && python record.py ../../models/image/tests/jpegs
    python record.py --hold BINARY 2000           # more of them, against `cargo run --example jpeg-pixels`, nothing written

Writes jpegs.bin (files one after another) and jpegs.json: of each its length, its size, and hashes (FNV-1a, 64 bits) of its pixels as
`convert("RGB")` gives them, as stored and turned by EXIF.
"""
import io
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, features

import files

SIZES = [(k, 1 + (k * 7) % 40) for k in range(1, 41)] + [(1 + (k * 11) % 40, k) for k in range(1, 41)]


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def kinds(rng, width, height):
    """One file of every kind: name and bytes."""
    for name, sets in ("one", files.ONE), ("three", files.THREE), ("four", files.FOUR):
        for factors in sets:
            heads = {"one": [files.JFIF], "three": [files.JFIF, b""], "four": [b"", files.adobe(0), files.adobe(2)]}[name]
            head = heads[int(rng.integers(len(heads)))]
            one_scan = bool(rng.random() < 0.7)
            yield f"{name} {factors}", files.encoded(rng, width(), height(), factors, head, interleaved=one_scan, restart=int(rng.choice([0, 2])))
    yield "RGB by Adobe's marker", files.encoded(rng, width(), height(), [(1, 1)] * 3, files.adobe(0))
    yield "RGB by names", files.encoded(rng, width(), height(), [(1, 1)] * 3, ids=[82, 71, 66])
    yield "names against JFIF", files.encoded(rng, width(), height(), [(1, 1)] * 3, files.JFIF, ids=[82, 71, 66])


def record(folder):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20261130)
    sizes = iter(SIZES * 20)
    side = lambda i: lambda: next(sizes)[i]
    all_files = list(kinds(rng, side(0), side(1)))
    for size in SIZES + SIZES:
        file = files.pillow(rng, *size)
        if b"\xff\xc2" in file and rng.random() < 0.4:
            file = files.without_last_scans(rng, file)
        all_files.append(("Pillow's", file))
    for size in [(200, 120), (121, 77), (64, 200)]:
        all_files.append(("Pillow's", files.pillow(rng, *size)))
    rows = []
    for name, file in all_files:
        image = Image.open(io.BytesIO(file))
        turned = ImageOps.exif_transpose(image).convert("RGB")
        stored = Image.open(io.BytesIO(file)).convert("RGB")
        rows.append({"of": name, "bytes": len(file), "size": list(stored.size), "stored": fnv(stored.tobytes()), "upright": fnv(turned.tobytes())})
    (folder / "jpegs.bin").write_bytes(b"".join(file for _, file in all_files))
    versions = {"pillow": Image.__version__, "libjpeg_turbo": features.version("libjpeg_turbo")}
    lines = ",\n".join(json.dumps(row) for row in rows)
    (folder / "jpegs.json").write_text(f'{{"versions": {json.dumps(versions)}, "files": [\n{lines}\n]}}\n')
    print(f"{len(rows)} files, {sum(row['bytes'] for row in rows)} bytes", file=sys.stderr)


def hold(binary, count):
    """Random files through the program and Pillow; pixels that differ are counted."""
    process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    differ = refused = 0
    for k in range(count):
        rng = np.random.default_rng([20261130, k])
        low, high = (40, 300) if k % 50 == 49 else (1, 41)
        file = files.any_file(rng, *[int(v) for v in rng.integers(low, high, 2)])
        process.stdin.write(struct.pack("<I", len(file)) + file)
        process.stdin.flush()
        width, height = struct.unpack("<II", process.stdout.read(8))
        pixels = process.stdout.read(width * height * 3)
        expected = files.decoded(file)
        refused += width == 0
        if expected.shape[:2] != (height, width) or expected.tobytes() != pixels:
            differ += 1
            Path(f"differs-{k}.jpg").write_bytes(file)
    print(f"{count} files, {differ} differ, {refused} refused")
    sys.exit(differ > 0)


if __name__ == "__main__":
    if sys.argv[1] == "--hold":
        hold(sys.argv[2], int(sys.argv[3]))
    record(Path(sys.argv[1]))
