#!/usr/bin/env python3
"""Reads published folders as their readers do, with the readers' own libraries, and compares what they see.

    check.py FOLDER …        exit code 1 and a line for each that a reader sees otherwise

Splits, ids, further columns and tar files may be there or not: what the Parquet shards' own schema says is what everybody must
see. tools/readers/run.sh brings the libraries; no network is used.
"""
import hashlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image


class Check:
    """Counts what holds, and prints what does not."""

    def __init__(self, folder):
        self.folder, self.held, self.failed = folder, 0, 0

    def equal(self, what, found, expected):
        if found == expected:
            self.held += 1
        else:
            self.failed += 1
            print(f"{self.folder}: {what}: {str(found)[:200]}, expected {str(expected)[:200]}")

    def that(self, what, holds):
        self.equal(what, bool(holds), True)


def splits(folder):
    found = {}
    for file in sorted(folder.glob("*-of-*.parquet")):
        found.setdefault(file.name.split("-")[0], []).append(file)
    return found


def pyarrow_sees(check, files):
    """The table that all other readers are compared with, and what only the footers show."""
    table = pa.concat_tables(pq.read_table(file) for file in files)
    pictures = table["image"].combine_chunks().field("bytes").to_pylist()
    sums = [hashlib.sha256(picture).hexdigest() for picture in pictures]
    check.equal("sha256 of the pictures", sums, table["sha256"].to_pylist())
    for file in files:
        metadata = pq.read_metadata(file)
        groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
        names = [groups[0].column(k).path_in_schema for k in range(metadata.num_columns)]
        for name in ("name_id", "image_id", "similarity"):
            ranges = [group.column(names.index(name)).statistics for group in groups]
            check.that(f"{file.name}: ranges of {name}", all(r is not None and r.has_min_max for r in ranges))
        keys = list(zip(*(pq.read_table(file, columns=[c])[c].to_pylist() for c in ("name_id", "image_id"))))
        if not any(isinstance(a, int) and min(a, b) < 0 for a, b in keys):
            check.equal(f"{file.name}: order", keys, sorted(keys))
    # A filter that only the ranges can answer quickly finds what a scan finds.
    middle = float(np.median(table["similarity"].to_numpy()))
    filtered = pq.read_table(files, columns=["similarity"], filters=[("similarity", ">", middle)])
    check.equal("rows by a filter", len(filtered), int((table["similarity"].to_numpy() > np.float32(middle)).sum()))
    return table


def datasets_sees(check, folder, split, files, table):
    import datasets

    width = table.schema.field("name_embedding").type.list_size
    with tempfile.TemporaryDirectory() as cache:
        whole = datasets.load_dataset(str(folder), split=split, cache_dir=cache)
        alone = datasets.load_dataset("parquet", data_files=[str(f) for f in files], split="train", streaming=True, cache_dir=cache)
        check.equal("datasets: features by the shards alone", alone.features, whole.features)
        check.equal("datasets: columns", whole.column_names, table.column_names)
        check.equal("datasets: image", type(whole.features["image"]).__name__, "Image")
        check.equal("datasets: embedding", (whole.features["name_embedding"].feature.dtype, whole.features["name_embedding"].length), ("float16", width))
        check.equal("datasets: ids", list(whole["image_id"]), table["image_id"].to_pylist())
        stream = datasets.load_dataset(str(folder), split=split, streaming=True, cache_dir=cache)
        seen = [(row["image_id"], row["image"].size) for row in stream]
        check.equal("datasets: streamed ids", [i for i, _ in seen], table["image_id"].to_pylist())
        check.that("datasets: streamed pictures", all(w > 0 and h > 0 for _, (w, h) in seen))
        if "aligned_face" in table.column_names:
            check.equal("datasets: aligned face", whole[0]["aligned_face"].size, (112, 112))


def tables_see(check, folder, split, files, table):
    import duckdb
    import pandas
    import polars

    glob, width = str(folder / f"{split}-*.parquet"), table.schema.field("name_embedding").type.list_size
    people = len(set(table["name_id"].to_pylist()))
    frame = polars.read_parquet(glob)
    check.equal("polars: rows and people", (frame.height, frame["name_id"].n_unique()), (len(table), people))
    check.equal("polars: embedding", frame["name_embedding"].dtype.shape, (width,))
    found = duckdb.sql(f"select count(*), count(distinct name_id), min(len(name_embedding)), sum(octet_length(image.bytes)) from read_parquet('{glob}')")
    size = sum(map(len, table["image"].combine_chunks().field("bytes").to_pylist()))
    check.equal("duckdb", tuple(map(int, found.fetchall()[0])), (len(table), people, width, size))
    first = pandas.read_parquet(files[0]).iloc[0]
    check.equal("pandas: embedding", np.asarray(first["name_embedding"]).shape, (width,))
    check.that("pandas: picture", Image.open(io.BytesIO(first["image"]["bytes"])).size)


def tars_see(check, folder, split, table):
    paths = [str(file) for file in sorted(folder.glob(f"{split}-*.tar"))]
    if not paths:
        return
    import webdataset

    rows, seen = {row["url"] + row["name"]: row for row in table.to_pylist()}, 0
    for sample in webdataset.WebDataset(paths, shardshuffle=False):
        rest = json.loads(sample["json"])
        row = rows[rest["url"] + rest["name"]]
        picture = next(sample[k] for k in ("jpg", "png", "webp", "gif", "bmp", "tif", "avif") if k in sample)
        check.that("webdataset: picture", picture == row["image"]["bytes"])
        name = np.load(io.BytesIO(sample["npy"]))
        check.that("webdataset: embedding", np.array_equal(name.ravel(), np.asarray(row["name_embedding"], np.float16)))
        check.equal("webdataset: ids", rest["image_id"], str(row["image_id"]))
        seen += 1
    check.equal("webdataset: samples", seen, len(table))


def catalogues_see(check, folder, tables):
    import logging

    import mlcroissant

    rows = sum(map(len, tables.values()))
    head = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)[1])
    stated = {s["name"]: s["num_examples"] for s in head["dataset_info"]["splits"]}
    check.equal("card: rows of each split", stated, {split: len(table) for split, table in tables.items()})
    check.equal("card: columns", [f["name"] for f in head["dataset_info"]["features"]], next(iter(tables.values())).column_names)
    logging.disable(logging.WARNING)
    here = os.getcwd()
    os.chdir(folder)  # contentUrl is relative to the file
    try:
        data = mlcroissant.Dataset(jsonld="croissant.json")
        check.equal("croissant: errors", sorted(data.metadata.ctx.issues.errors), [])
        check.equal("croissant: warnings", sorted(data.metadata.ctx.issues.warnings), [])
        for item in json.loads(Path("croissant.json").read_text())["distribution"]:
            if "sha256" in item:
                digest = hashlib.sha256(Path(item["contentUrl"]).read_bytes()).hexdigest()
                check.equal(f"croissant: sha256 of {item['contentUrl']}", item["sha256"], digest)
        check.equal("croissant: records", sum(1 for _ in data.records("default")), rows)
    finally:
        os.chdir(here)


def people_are_apart(check, tables):
    sides = [(set(t["name_id"].to_pylist()), set(t["image_id"].to_pylist())) for t in tables.values()]
    for k, (people, photos) in enumerate(sides):
        for others, other_photos in sides[:k]:
            check.that("nobody is in two splits", not people & others)
            check.that("no photo is in two splits", not photos & other_photos)


def main():
    failed = 0
    for folder in map(Path, sys.argv[1:] or ["laioncele-output/laioncele"]):
        check, tables = Check(folder), {}
        for split, files in splits(folder.resolve()).items():
            table = tables[split] = pyarrow_sees(check, files)
            datasets_sees(check, folder.resolve(), split, files, table)
            tables_see(check, folder.resolve(), split, files, table)
            tars_see(check, folder.resolve(), split, table)
        people_are_apart(check, tables)
        catalogues_see(check, folder.resolve(), tables)
        print(f"{folder}: {sum(map(len, tables.values()))} rows, {check.held} ok, {check.failed} failed")
        failed += check.failed + (not tables)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
