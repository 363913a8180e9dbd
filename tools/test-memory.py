#!/usr/bin/env python3
"""Stages on tables ten times larger than the memory that each process may have.

    test-memory.py LAIONCELE [MEGABYTES]

The photos of a tiny embedded world become a source that holds its images, each many times and padded with a megabyte that no decoder looks at, so that the
table of photos is ten times MEGABYTES (400). All names are one bucket, so that nothing but the size of a part bounds what a task reads. Then every step runs
with `setrlimit(RLIMIT_DATA)`: heap, anonymous maps and stacks of each process together. What is asked for beyond that is refused, and the step would fail.
Prints each step's tasks and peak resident memory, and each large table's size.
"""

import json
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / ".pyarrow"))
import pyarrow  # noqa: E402
import pyarrow.parquet  # noqa: E402

FACTOR = 10
PADDING = 1 << 20
SEGMENT = 65_000
# Photos of a shard of the source.
PER_FILE = 500


def laioncele(program, *arguments, limit=None, output=None):
    """What the program printed, under the limit. Where it fails, the logs of the workers of the run in `output` are told."""

    def limited():
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    command = [program, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, preexec_fn=limited if limit else None)
    if done.returncode:
        for log in sorted((output / "log").glob("worker-*.log")) if output else []:
            print(f"{log.name}: {log.read_text()[-2000:]}", file=sys.stderr)
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}")
    return done.stdout


def padded(jpeg, dice):
    """The same picture with a megabyte of application data behind its first marker."""
    segments = [jpeg[:2]]
    for _ in range(PADDING // SEGMENT):
        segments.append(b"\xff\xef" + (SEGMENT + 2).to_bytes(2, "big") + dice.randbytes(SEGMENT))
    return b"".join([*segments, jpeg[2:]])


def photos(output):
    """Url, caption and bytes of all JPEGs among the run's photos."""
    for part in sorted((output / "tables/photos").glob("*/*.parquet")):
        for row in pyarrow.parquet.read_table(part, columns=["url", "caption", "image"]).to_pylist():
            if row["image"]["bytes"][:2] == b"\xff\xd8":
                yield row["url"], row["caption"], row["image"]["bytes"]


def write_source(found, folder, size):
    """Files as img2dataset writes them, with `size` bytes of photos."""
    dice, written, rows, files = random.Random(1), 0, [], 0
    folder.mkdir()

    def close():
        nonlocal rows, files
        table = pyarrow.table({name: [row[name] for row in rows] for name in rows[0]})
        pyarrow.parquet.write_table(table, folder / f"{files:05}.parquet", row_group_size=16, compression="none", use_dictionary=False)
        rows, files = [], files + 1

    copy = 0
    while written < size:
        for url, caption, jpeg in found:
            image = padded(jpeg, dice)
            row = {"url": f"{url}?copy={copy}", "key": f"{copy:04}{len(rows):05}", "status": "success", "error_message": None, "caption": caption, "jpg": image}
            rows.append(row)
            written += len(image)
            if len(rows) == PER_FILE:
                close()
            if written >= size:
                break
        copy += 1
    if rows:
        close()
    return written


def manifest_of(world, source):
    """The world's manifest with that source, one bucket, and shards that are smaller than the limit."""
    lines, section = [], ""
    for line in (world / "mini.toml").read_text().splitlines():
        if line.startswith("["):
            section = line
        if section in ("[source.columns]", "[mini_world]", "[extract_names]", "[pack_shards]"):
            continue
        if section == "[source]" and line.startswith("path"):
            line = f'path = "{source}"\nlayout = "img2dataset"'
        if section == "[run]" and line.startswith("buckets"):
            line = "buckets = 1"
        lines.append(line)
    path = world / "large.toml"
    path.write_text("\n".join([*lines, "", "[pack_shards]", "shard_bytes = 67108864", "row_group = 16", ""]))
    return path


def size_of(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main(program, megabytes=400):
    limit = int(megabytes) << 20
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        work = pathlib.Path(folder)
        world = work / "world"
        laioncele(program, "mini", "build", "--size", "tiny", world)
        laioncele(program, "--quiet", "run", "--manifest", world / "mini.toml", "--output", work / "small", "--stage", "..download-images")
        found = list(photos(work / "small"))
        source = write_source(found, work / "source", FACTOR * limit)
        print(f"{len(found)} photos, {source / 1e9:.2f} GB in the source; each process may have {limit / 1e6:.0f} MB")
        output = work / "large"
        arguments = ["--quiet", "run", "--json", "--manifest", manifest_of(world, work / "source"), "--output", output, "--workers", 1, "--threads", 2]
        summary = json.loads(laioncele(program, *arguments, limit=limit, output=output))
        print(f"{'step':20} {'tasks':>6} {'seconds':>8} {'peak, MB':>9}")
        for step in summary["steps"]:
            peak = step["metrics"].get("peak_memory_bytes", 0)
            print(f"{step['step']:20} {step['ran']:>6} {step['seconds']:>8.1f} {peak / 1e6:>9.0f}")
        tables = {table.name: size_of(table) for table in (output / "tables").iterdir()}
        for name, size in sorted(tables.items(), key=lambda entry: -entry[1]):
            if size > limit / 4:
                print(f"table {name}: {size / 1e9:.2f} GB, {size / limit:.1f} times the limit")
        laioncele(program, "--quiet", "verify", "--output", output, limit=limit)
        print("verified under the same limit")
        if min(source, tables["photos"]) < FACTOR * limit * 0.98:
            sys.exit("the tables were not as large as they should be")


if __name__ == "__main__":
    main(*sys.argv[1:])
