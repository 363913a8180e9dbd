"""Records Python imagehash's average hashes of small pictures made here, for the parity test of dedupe-images.

    pip install pillow==12.0.0 imagehash==4.3.2 numpy && python record.py ../../stages/dedupe-images/tests/fixtures
"""
import json
import sys
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image


def pictures(rng):
    """(file name, picture): odd sizes, gray, palette, alpha, JPEG qualities."""
    for k, (w, h) in enumerate([(128, 128), (97, 61), (33, 200), (7, 9), (8, 8), (256, 40)]):
        y, x = np.mgrid[0:h, 0:w]
        waves = sum(rng.uniform(20, 60) * np.sin(x / w * rng.uniform(2, 20) + y / h * rng.uniform(2, 20) + rng.uniform(0, 6)) for _ in range(3))
        rgb = np.stack([waves * rng.uniform(0.4, 1.2) + rng.uniform(90, 160) for _ in range(3)], -1) + rng.normal(0, 6, (h, w, 3))
        picture = Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))
        yield f"rgb{k}.png", picture
        if k < 2:
            yield f"photo{k}.jpg", picture
            yield f"gray{k}.png", picture.convert("L")


if __name__ == "__main__":
    out, hashes = Path(sys.argv[1]), {}
    for name, picture in pictures(np.random.default_rng(7)):
        picture.save(out / name, **(dict(quality=85) if name.endswith("jpg") else {}))
        hashes[name] = str(imagehash.average_hash(Image.open(out / name)))
    (out / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")
