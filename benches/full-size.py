"""Loads an SDXL of the real size with random weights and draws one step: seconds, and memory beside the weights' own size.

    full-size.py [FOLDER]

Writes the folder first (6.9 GB, by default in a temporary folder, which is removed again) unless it is there.
"""

import os
import subprocess
import sys
import tempfile

import measure


def size(folder):
    return sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names)


def write(folder):
    # With the whole workspace's features, so that nothing is compiled a second time.
    build = ["cargo", "build", "--release", "--quiet", "--workspace", "--bin", "random-sdxl"]
    subprocess.run(build, cwd=measure.ROOT, check=True)
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(measure.ROOT, "target")
    subprocess.run([os.path.join(target, "release", "random-sdxl"), folder], check=True)


def draw(folder, into):
    picture = ["--precision", "f16", "--device", "cpu", "--steps", "1", "--width", "128", "--height", "128", "--into", into]
    command = measure.laioncele("generate", "--model", folder, "--name", "Maria Johnson", *picture)
    _, seconds, peak = measure.measured(command, "RssAnon")
    print(f"{size(folder) / 1e9:.2f} GB of weights: loaded and one step in {seconds:.0f} s,"
          f" peak memory without mapped files {peak / 1e9:.2f} GB")


def main(folder=None):
    with tempfile.TemporaryDirectory() as scratch:
        folder = folder or os.path.join(scratch, "random-sdxl")
        if not os.path.exists(os.path.join(folder, "model_index.json")):
            write(folder)
        draw(folder, os.path.join(scratch, "pictures"))


if __name__ == "__main__":
    main(*sys.argv[1:])
