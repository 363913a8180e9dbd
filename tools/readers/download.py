#!/usr/bin/env python3
"""Photos that `laioncele download` wrote as WebDataset and as Parquet, read by the libraries that people read them with.

    download.py LAIONCELE

A server on this machine gives pictures in several formats, some that are none, and misses some. Each shard of the download must be
read whole by `webdataset`, with the bytes that the server sent, the caption, and the metadata of the status table; the Parquet shards by pyarrow and Pillow.
"""

import http.server
import io
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import threading

import pyarrow.parquet
import webdataset
from PIL import Image

PHOTOS = 90
ROWS_PER_SHARD = 25
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tif": "TIFF"}


def pictures():
    """Path → bytes, of pictures in all formats and of texts that are none."""
    dice, found = random.Random(1), {}
    for number in range(PHOTOS):
        kind = list(FORMATS)[number % len(FORMATS)]
        if number % 10 == 9:
            found[f"/{number}.{kind}"] = b"<html>no picture</html>"
            continue
        size = (dice.randrange(40, 90), dice.randrange(40, 90))
        picture = Image.frombytes("RGB", size, dice.randbytes(size[0] * size[1] * 3))
        into = io.BytesIO()
        picture.save(into, FORMATS[kind])
        found[f"/{number}.{kind}"] = into.getvalue()
    return found


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    pictures = {}

    def do_GET(self):
        body = self.pictures.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


class Check:
    def __init__(self):
        self.passed, self.failed = 0, 0

    def equal(self, what, found, expected):
        if found == expected:
            self.passed += 1
            return
        self.failed += 1
        print(f"FAIL {what}: {found!r}, not {expected!r}")


def caption(number):
    return f"Line {number}, with a tab\t, “quotes” and ümlauts"


def download(program, work, port, form):
    """The folder that the download wrote."""
    rows = [{"url": f"http://127.0.0.1:{port}{path}", "caption": caption(n)} for n, path in enumerate([*Handler.pictures, "/missing.jpg"])]
    urls = work / "urls.jsonl"
    urls.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = work / form
    command = [program, "download", "--input", urls, "--output", output, "--format", form]
    command += ["--rows-per-shard", str(ROWS_PER_SHARD), "--allow-host", "127.0.0.1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return output, rows


def statuses(output):
    """Url → row of the status tables."""
    tables = [pyarrow.parquet.read_table(file) for file in sorted(output.glob("*_status.parquet"))]
    return {row["url"]: row for table in tables for row in table.to_pylist()}


def sent(url):
    return Handler.pictures["/" + url.split("/", 3)[3]]


def tars(check, output, rows):
    status, seen, last = statuses(output), set(), ""
    check.equal("rows with a status", sorted(status), sorted(row["url"] for row in rows))
    captions = {row["url"]: row["caption"] for row in rows}
    shards = [str(file) for file in sorted(output.glob("*.tar"))]
    check.equal("shards", len(shards), -(-len(rows) // ROWS_PER_SHARD))
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        meta = json.loads(sample["json"])
        url, key = meta["url"], sample["__key__"]
        said = status[url]
        check.equal(f"{key}: class", said["class"], "success")
        check.equal(f"{key}: key", key, said["key"])
        check.equal(f"{key}: order", key > last, True)
        check.equal(f"{key}: caption", sample["txt"].decode(), captions[url])
        extension = next(kind for kind in (*FORMATS, "jpeg", "tiff") if kind in sample)
        check.equal(f"{key}: extension", extension, said["extension"])
        check.equal(f"{key}: bytes", sample[extension], sent(url))
        check.equal(f"{key}: size", Image.open(io.BytesIO(sample[extension])).size, (meta["width"], meta["height"]))
        seen.add(url)
        last = key
    check.equal("photos", len(seen), sum(row["class"] == "success" for row in status.values()))
    check.equal("no photos", len(rows) - len(seen), PHOTOS // 10 + 1)
    decoded = webdataset.WebDataset(shards, shardshuffle=False).decode("pil").to_tuple("jpg;png;webp;gif;bmp;tif", "txt", "json")
    usable = [text for _, text, meta in decoded if isinstance(text, str) and isinstance(meta, dict)]
    check.equal("decoded by webdataset", sorted(usable), sorted(captions[url] for url in seen))


def tables(check, output, rows):
    tables = [pyarrow.parquet.read_table(file) for file in sorted(output.glob("[0-9]*.parquet")) if "_status" not in file.name]
    photos = [row for table in tables for row in table.to_pylist()]
    for row in photos:
        check.equal(f"{row['key']}: bytes", row["image"], sent(row["url"]))
        check.equal(f"{row['key']}: size", Image.open(io.BytesIO(row["image"])).size, (row["width"], row["height"]))
    check.equal("photos in Parquet", len(photos), len(rows) - PHOTOS // 10 - 1)


def main(program):
    Handler.pictures = pictures()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    check = Check()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        tars(check, *download(program, work, server.server_port, "webdataset"))
        tables(check, *download(program, work, server.server_port, "parquet"))
    print(f"download: {check.passed} ok, {check.failed} FAIL")
    return int(check.failed > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
