"""rapidfuzz on the sample that the example `names` wrote: benches/names.sh calls it.

What a script around rapidfuzz would do, on one thread: block by the first letter of the given name and the first two of the
surname (misspellings of those letters are lost), in each block compare every rare spelling with every one that is at least five
times as frequent (`process.cdist` with Damerau-Levenshtein, at most two edits), and take the nearest. All pairs of 10⁷ spellings
are out of reach, and so are these blocks: pairs grow with the square, so the figure for more spellings is extrapolated from
the pairs that the blocks would have.
"""

import collections
import json
import resource
import sys
import time

import numpy
from rapidfuzz import process
from rapidfuzz.distance import DamerauLevenshtein

LEAST_RATIO = 5
ROWS = 512


def blocks(rows):
    found = collections.defaultdict(list)
    for spelling, mentions in rows:
        given, _, rest = spelling.lower().partition(" ")
        found[given[:1], rest.split(" ")[-1][:2]].append((mentions, spelling.lower()))
    for block in found.values():
        block.sort(key=lambda row: (-row[0], row[1]))
    return found


def merge_block(block):
    """Compares each spelling with those at the front of the block that are frequent enough; pairs compared, merged."""
    counts = numpy.array([n for n, _ in block])
    texts = [text for _, text in block]
    # For each spelling, how many are at least five times as frequent.
    ends = numpy.searchsorted(-counts, -LEAST_RATIO * counts, side="right")
    pairs = merged = 0
    for start in range(0, len(block), ROWS):
        rare, most = texts[start : start + ROWS], ends[start : start + ROWS].max()
        if most == 0:
            continue
        distances = process.cdist(rare, texts[:most], scorer=DamerauLevenshtein.distance, score_cutoff=2, dtype=numpy.uint8, workers=1)
        pairs += distances.size
        allowed = numpy.arange(most)[None, :] < ends[start : start + ROWS][:, None]
        merged += int((numpy.where(allowed, distances, 255).min(axis=1) <= 2).sum())
    return pairs, merged


def main():
    with open(sys.argv[1], encoding="utf-8") as lines:
        rows = [(s, int(n)) for s, n in (line.rstrip("\n").split("\t") for line in lines)]
    wanted = int(sys.argv[2])
    started = time.process_time()
    pairs = merged = 0
    for block in blocks(rows).values():
        more = merge_block(block)
        pairs, merged = pairs + more[0], merged + more[1]
    seconds = time.process_time() - started
    growth = wanted / len(rows)
    print(json.dumps({
        "rapidfuzz": "cdist in blocks, one thread", "spellings": len(rows), "seconds": round(seconds, 2),
        "pairs": pairs, "pairs_per_second": round(pairs / seconds), "merged": merged,
        "spellings_per_second": round(len(rows) / seconds), "extrapolated_to": wanted,
        "extrapolated_spellings_per_second": round(len(rows) / seconds / growth),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }))


if __name__ == "__main__":
    main()
