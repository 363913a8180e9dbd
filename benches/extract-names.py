"""Reads names out of millions of captions made from the golden captions' words: captions per second, peak memory.

    extract-names.py [CAPTIONS] [CAPTIONS_PER_FILE] [KIND]

KIND is `golden` (default), `dropped` (no caption names anybody, so that every row is dropped) or `long` (captions of 1 MB with thousands of
names each). Needs pyarrow (`make pyarrow`). A caption's words follow each other as they do in the golden captions; the same captions for every run.
"""

import collections
import json
import os
import random
import sys
import tempfile

import measure

sys.path.insert(0, os.path.join(measure.ROOT, ".pyarrow"))
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

GOLDEN = os.path.join(measure.ROOT, "models", "ner", "tests", "fixtures", "golden.jsonl")
GROUP = 100_000


def followers():
    """After each word of a golden caption, the words that follow it, as often as they do; None begins and ends a caption."""
    after = collections.defaultdict(list)
    with open(GOLDEN, encoding="utf-8", newline="\n") as file:
        for line in file:
            words = [None, *json.loads(line)["text"].split(), None]
            for one, next_one in zip(words, words[1:]):
                after[one].append(next_one)
    return after


def caption(after, chance):
    words, word = [], chance.choice(after[None])
    while word is not None and len(words) < 60:
        words.append(word)
        word = chance.choice(after[word])
    return " ".join(words)


def maker(kind):
    """Makes the text of the n-th caption."""
    after, chance = followers(), random.Random(1)
    kinds = {
        "golden": lambda n: caption(after, chance),
        "dropped": lambda n: f"red shoes on sale, size {n % 50}, item {n}",
        "long": lambda n: "Mira Castellan smiles. " * (1_000_000 // 23),
    }
    return kinds[kind]


def write(folder, count, per_file, kind):
    text, at = maker(kind), 0
    schema = pa.schema([("URL", pa.string()), ("TEXT", pa.string()), ("WIDTH", pa.int64()), ("HEIGHT", pa.int64())])
    for first in range(0, count, per_file):
        with pq.ParquetWriter(os.path.join(folder, f"part-{first // per_file:05}.parquet"), schema) as writer:
            last = min(first + per_file, count)
            for _ in range(first, last, GROUP):
                rows = min(GROUP, last - at)
                urls = [f"https://pictures.example/{n}.jpg" for n in range(at, at + rows)]
                texts = [text(n) for n in range(at, at + rows)]
                sides = [512] * rows
                writer.write_table(pa.table([urls, texts, sides, sides], schema=schema))
                at += rows


def manifest(folder):
    """The embedded world's manifest over these captions: only extract-names is run."""
    with open(os.path.join(measure.ROOT, "manifests", "mini.toml"), encoding="utf-8") as file:
        lines = file.read().replace('"mini/captions"', '"captions"').split("\n")
    unmapped = ("similarity", "punsafe", "pwatermark", "hash", "max_punsafe", "max_pwatermark", "min_similarity")
    weights = os.path.join(measure.ROOT, "manifests", "mini", "")
    kept = (line.replace('"mini/', f'"{weights}') for line in lines if line.split(" ")[0] not in unmapped)
    path = os.path.join(folder, "captions.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(kept))
    return path


def main(count=10_000_000, per_file=1_000_000, kind="golden"):
    count, per_file = int(count), int(per_file)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        captions = os.path.join(folder, "captions")
        os.mkdir(captions)
        write(captions, count, per_file, kind)
        size = sum(entry.stat().st_size for entry in os.scandir(captions))
        steps, seconds, peak = measure.run(manifest(folder), os.path.join(folder, "output"), "--stage", "extract-names")
        print(f"{count} captions in {len(os.listdir(captions))} files, {size / 1e6:.0f} MB")
        print(f"{seconds:.1f} s, {count / seconds:.0f} captions per s, peak memory {peak / 1e6:.0f} MB")
        for step in steps:
            print(json.dumps(step))


if __name__ == "__main__":
    main(*sys.argv[1:])
