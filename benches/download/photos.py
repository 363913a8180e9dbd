"""Makes the photos that `make bench-download` serves, the same for every run: photos.py FOLDER SMALL LARGE

SMALL photos whose sides are 256 to 512 pixels, LARGE of 2,000 to 4,000, as JPEG files of several qualities, with and without subsampled
colours. Clouds of several sizes and a sensor's noise, so that they pack like photos.
"""

import os
import sys

import cv2
import numpy as np

SCENES = 64


def scene(side, chance):
    picture = np.full((side, side, 3), chance.uniform(60, 180, 3), np.float32)
    for cells in (3, 9, 27, 81, 243):
        clouds = chance.normal(0, 70 / cells**0.45, (cells, cells, 3)).astype(np.float32)
        picture += cv2.resize(clouds, (side, side), interpolation=cv2.INTER_CUBIC)
    picture += chance.normal(0, 3, (side, side, 1)).astype(np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8)


def write(path, scenes, low, high, chance):
    width, height = (int(n) for n in chance.integers(low, high + 1, 2))
    source = scenes[chance.integers(len(scenes))]
    left, top = (int(chance.integers(0, source.shape[0] - n + 1)) for n in (width, height))
    quality = int(chance.choice([75, 80, 85, 90, 95], p=[0.2, 0.2, 0.3, 0.2, 0.1]))
    # Most photos of the web have their colours at half the size; progressive ones are about a tenth.
    colours = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if chance.random() < 0.8 else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, quality),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, colours),
        *(cv2.IMWRITE_JPEG_PROGRESSIVE, int(chance.random() < 0.1)),
    ]
    cv2.imwrite(path, source[top : top + height, left : left + width], options)


def main(folder, small, large):
    done = os.path.join(folder, f"complete-{small}-{large}")
    if os.path.exists(done):
        return
    os.makedirs(folder, exist_ok=True)
    chance = np.random.default_rng(1)
    for count, name, low, high in ((small, "small", 256, 512), (large, "large", 2000, 4000)):
        scenes = [scene(high, chance) for _ in range(SCENES if high < 1000 else 4)]
        for number in range(count):
            write(os.path.join(folder, f"{name}-{number:05}.jpg"), scenes, low, high, chance)
    open(done, "w").close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
