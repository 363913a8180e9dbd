"""Measures JPEG bytes to average hashes: Python's imagehash against laioncele-dedupe-images on the same photos in the same
minutes, pass by pass in turn, one thread each.

    bench.py BENCH_AHASH_PROGRAM [PASSES] [PHOTOS]

Photos are made here: noise with the spectrum of natural images, at the sizes, qualities and subsamplings that the web has, one in six
progressive. Prints photos per second of the processor, ratios, and how many bits the hashes are apart; of copies at two thirds of
the size, how many have an equal hash by each way.
"""

import io
import os
import sys
import tempfile

import imagehash
import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import measure  # noqa: E402


def photo(chance, width, height):
    """Amplitudes fall as 1 / frequency, which natural images have in common."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    fall = 1 / np.maximum(np.hypot(fx, fy), 0.5 / max(width, height)) ** chance.uniform(1.0, 1.4)
    planes = []
    for spread in (55, 12, 12):
        phases = np.exp(2j * np.pi * chance.random(fall.shape))
        plane = np.fft.irfft2(fall * phases, s=(height, width))
        planes.append(plane / plane.std() * spread)
    luma, blue, red = planes
    luma += chance.uniform(90, 160)
    rgb = np.stack([luma + red, luma - 0.5 * (red + blue), luma + blue], -1)
    return Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))


def encoded(image, chance):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=int(chance.integers(70, 96)), subsampling=int(chance.choice([0, 2, 2, 2])), progressive=bool(chance.random() < 1 / 6))
    return out.getvalue()


def write_photos(folder, count):
    """Files of photos, and of their copies at two thirds of the size."""
    chance, photos, copies = np.random.default_rng(5), [], []
    for k in range(count):
        long = int(chance.choice([256, 400, 600, 800, 1200]) * chance.uniform(0.8, 1.2))
        short = int(long * chance.uniform(0.6, 1))
        image = photo(chance, *((long, short) if chance.random() < 0.5 else (short, long)))
        small = image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.LANCZOS)
        for kind, of, files in (("photo", image, photos), ("copy", small, copies)):
            files.append(os.path.join(folder, f"{kind}-{k:05}.jpg"))
            with open(files[-1], "wb") as file:
                file.write(encoded(of, chance))
    return photos, copies


def reference(files):
    contents = [open(file, "rb").read() for file in files]
    return measure.clocked(lambda: [int(str(imagehash.average_hash(Image.open(io.BytesIO(c)))), 16) for c in contents])


def main(program, passes="3", count="400"):
    with tempfile.TemporaryDirectory() as folder:
        photos, copies = write_photos(folder, int(count))
        lists = {}
        for name, files in (("photos", photos), ("copies", copies)):
            lists[name] = os.path.join(folder, name)
            with open(lists[name], "w") as file:
                file.write("\n".join(files))
        worker = measure.Worker("bench-ahash", [program])
        best, hashes = {}, {}
        for _ in range(int(passes)):
            found, took = reference(photos)
            hashes["imagehash"] = found
            best["imagehash"] = min(best.get("imagehash", 1e9), took["busy"])
            for way in ("exact", "fast", "check", "decode"):
                answer = worker.ask(f"{way} {lists['photos']}")
                hashes[way] = [int(hash, 16) for hash in answer["hashes"]]
                best[way] = min(best.get(way, 1e9), answer["busy"])
        for way, seconds in best.items():
            print(f"{way:10} {len(photos) / seconds:8.0f} photos per CPU-second, {best['imagehash'] / seconds:5.2f} × imagehash")
        for way in ("exact", "fast"):
            apart = [(a ^ b).bit_count() for a, b in zip(hashes[way], hashes["imagehash"])]
            within = sum(bits <= 2 for bits in apart) / len(apart)
            print(f"{way}: {sum(b == 0 for b in apart)} of {len(apart)} hashes equal, {within:.2%} at most 2 bits apart, {max(apart)} at most")
            small = [int(hash, 16) for hash in worker.ask(f"{way} {lists['copies']}")["hashes"]]
            equal = sum(a == b for a, b in zip(small, hashes[way]))
            print(f"{way}: {equal / len(small):.1%} of copies at two thirds of the size have the photo's hash")
        worker.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
