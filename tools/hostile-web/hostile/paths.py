"""The two ways of a download, `laioncele download` and the stage: how they are started and what they leave."""
import glob
import hashlib
import json
import os
import re

import pyarrow as pa
import pyarrow.parquet as pq

from . import process
from .judge import Fate

NAMES = 8
# Where the command's defaults are not the stage's, which the rows' truth is made for.
AS_THE_STAGE = ["--min-side", "64"]


def metadata(rows, folder, repository):
    """A Parquet file as LAION has them. The caption's number is the row's."""
    truth = json.loads((repository / "manifests/truth.json").read_text())
    names = [n["name"] for n in truth["names"] if n["known"] and not n.get("excluded")][:NAMES]
    count = len(rows)
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({
        "URL": [row.url for row in rows],
        "TEXT": [f"{names[i % len(names)]} at the premiere in Paris, picture {i}" for i in range(count)],
        "WIDTH": [640] * count, "HEIGHT": [480] * count, "similarity": [0.33] * count,
        "punsafe": [0.01] * count, "pwatermark": [0.05] * count, "md5": pa.array([None] * count, pa.string()),
    })
    pq.write_table(table, folder / "part-000.parquet")


def environment(certificates):
    return os.environ | {"SSL_CERT_FILE": str(certificates / "ca.pem"), "NO_COLOR": "1"}


def tables(pattern, columns=None):
    out = []
    for file in sorted(glob.glob(pattern, recursive=True)):
        out += pq.read_table(file, columns=columns).to_pylist()
    return out


class Download:
    """`laioncele download`."""
    name = "download"

    def __init__(self, options, folder):
        self.options, self.folder, self.out = options, folder, folder / "download"

    async def prepare(self):
        pass

    def command(self):
        return [self.options.binary, "download", "--input", self.folder / "source/part-000.parquet", "--output", self.out, "--url-column", "URL",
                "--caption-column", "TEXT", *AS_THE_STAGE, *self.options.arguments]

    def fates(self):
        """By number of the row."""
        stored, fates = {}, {}
        for file in sorted(glob.glob(f"{self.out}/[0-9]*.parquet")):
            if "status" not in file:
                for row in pq.read_table(file).to_pylist():
                    image = row.get("image") or row.get("jpg")
                    data = image["bytes"] if isinstance(image, dict) else image
                    stored[row["key"]] = hashlib.sha256(data).hexdigest()
        for number, row in enumerate(tables(f"{self.out}/*status*.parquet")):
            photo = row["class"] in (None, "", "photo", "ok", "success")
            fates[number] = Fate(row["sha256"]) if photo else Fate(None, row["class"], row["detail"])
        kept = sorted(f.sha256 for f in fates.values() if f.sha256)
        if kept != sorted(stored.values()):
            print(f"the status table has {len(kept)} photos, the shards have {len(stored)}; or their hashes differ")
        return fates


class Stage:
    """download-images of a pipeline's run, after the stages before it."""
    name = "stage"

    def __init__(self, options, folder):
        self.options, self.folder, self.out = options, folder, folder / "run"

    def manifest(self):
        mini = self.options.repository / "manifests"
        text = (mini / "mini.toml").read_text()
        text = re.sub(r'"(mini/[^"]*)"', lambda m: f'"{mini / m[1]}"', text)
        text = re.sub(r'path = ".*captions"', f'path = "{self.folder / "source"}"', text)
        text = text.replace("min_images = 5\nexclude", "min_images = 1\nexclude")
        # Hosts of the embedded world would lead to its web on this machine.
        text = re.sub(r"\[mini_world\]\n(?:[^\[\n].*\n)+", "", text)
        # The download's own defaults.
        text = re.sub(r"\[download_images\]\n(?:[^\[\n].*\n)+", "[download_images]\n" + "".join(f"{s}\n" for s in self.options.settings), text)
        (self.folder / "manifest.toml").write_text(text)

    def run(self, stage):
        return [self.options.binary, "run", "--stage", stage, "--manifest", self.folder / "manifest.toml", "--output", self.out]

    async def prepare(self):
        self.manifest()
        done = await process.run(self.run("..verify-portraits"), 600, environment(self.folder / "tls"), self.folder / "prepare.log")
        if done.code:
            raise SystemExit(f"the stages before the download failed:\n{done.text[-2000:]}")

    def command(self):
        return self.run("download-images")

    def fates(self):
        number = {}
        for row in tables(f"{self.out}/tables/candidates/**/*.parquet", ["image_id", "caption"]):
            number.setdefault(row["image_id"], []).append(int(row["caption"].rsplit(" ", 1)[1]))
        fates, early = {}, []
        for row in tables(f"{self.out}/tables/photos/**/*.parquet", ["image_id", "image"]):
            for n in number.get(row["image_id"], []):
                fates[n] = Fate(hashlib.sha256(row["image"]["bytes"]).hexdigest())
        for row in tables(f"{self.out}/tables/dropped/**/*.parquet"):
            if row["unit"] == "image":
                for n in number.get(row["id"], []):
                    fates.setdefault(n, Fate(None, row["reason"], row["detail"]))
            elif row["unit"] == "caption":
                early.append(Fate(None, row["reason"], row["detail"]))
        return fates | self.early(fates, number, early)

    def early(self, fates, number, early):
        """Rows that were dropped before the download: their number is not in the table, so they are taken in order."""
        known = {n for numbers in number.values() for n in numbers}
        missing = [n for n in range(self.options.count) if n not in known]
        return dict(zip(missing, early)) if len(missing) == len(early) else {}


class Engine:
    """The engine alone: `cargo build --release -p laioncele-download --example fates`."""
    name = "engine"

    def __init__(self, options, folder):
        self.options, self.folder = options, folder

    async def prepare(self):
        urls = pq.read_table(self.folder / "source/part-000.parquet", columns=["URL"]).column("URL").to_pylist()
        (self.folder / "urls.jsonl").write_text("".join(json.dumps(url) + "\n" for url in urls))

    def command(self):
        return ["sh", "-c", 'exec "$0" < "$1" > "$2"', self.options.binary, self.folder / "urls.jsonl", self.folder / "fates.jsonl"]

    def fates(self):
        fates = {}
        for line in (self.folder / "fates.jsonl").read_text().splitlines():
            fate = json.loads(line)
            assert fate["id"] not in fates, f"row {fate['id']} ended twice"
            fates[fate["id"]] = Fate(fate.get("sha256"), fate.get("reason"), fate.get("detail"))
        return fates
