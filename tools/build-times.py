#!/usr/bin/env python3
"""Where a build's time went, as the tables of docs/build-times.md, from what `cargo build --timings` wrote.

    tools/build-times.py [target/cargo-timings/cargo-timing.html]

Seconds are those that each rustc or build script ran, on a machine that does nothing else: with two jobs on two cores they are
close to CPU seconds.
"""

import collections
import json
import os
import re
import sys

FAMILIES = [
    ("ours, tests", lambda u: u["name"].startswith("laioncele") and "test" in u["target"]),
    ("ours", lambda u: u["name"].startswith("laioncele")),
    ("polars", lambda u: u["name"].startswith("polars")),
    ("arrow, parquet", lambda u: u["name"].startswith(("arrow", "parquet"))),
    ("zstd in C, twice", lambda u: u["name"].startswith("zstd")),
    ("candle, gemm, pulp, tokenizers", lambda u: u["name"].startswith(("candle", "gemm", "pulp", "tokenizers"))),
    ("image and its codecs", lambda u: re.match(r"image|png|moxcms|pxfm|zune|jpeg|fdeflate", u["name"])),
    ("network: hyper, reqwest, rustls, tokio", lambda u: re.match(r"hyper|reqwest|rustls|ring$|tokio|h2$|http|tower|url$|icu|idna", u["name"])),
    ("everything else", lambda u: True),
]


def main(path):
    with open(path) as page:
        units = json.loads(re.search(r"UNIT_DATA = (\[.*?\]);\n", page.read(), re.DOTALL)[1])
    total = sum(u["duration"] for u in units)
    wall = max(u["start"] + u["duration"] for u in units)
    print(f"{len(units)} units, {total / 60:.0f} minutes of compilers, {wall / 60:.0f} minutes on the clock.\n")
    families, crates = collections.Counter(), collections.Counter()
    for unit in units:
        families[next(name for name, holds in FAMILIES if holds(unit))] += unit["duration"]
        kind = " (tests)" if "test" in unit["target"] else " (build script)" if "build" in unit["target"] else ""
        crates[unit["name"] + kind] += unit["duration"]
    table("part", families.most_common(), total)
    print()
    table("crate", crates.most_common(25), total)


def table(head, rows, total):
    print(f"| {head} | seconds | share |\n|---|---:|---:|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.0f} | {seconds / total:.1%} |")


if __name__ == "__main__":
    default = os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "cargo-timings/cargo-timing.html")
    main(sys.argv[1] if len(sys.argv) > 1 else default)
