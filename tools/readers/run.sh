#!/bin/sh
# Packs the run in $1 in every form and reads each as its readers do. The libraries go into .readers, or are those of PYTHON.
#   tools/readers/run.sh LAIONCELE OUTPUT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=$1 output=$2
python=${PYTHON:-}
if [ -z "$python" ]; then
    python=$here/../../.readers/bin/python
    [ -e "$python" ] || python3 -m venv "$here/../../.readers"
    "$python" -m pip install --quiet -r "$here/requirements.txt"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -a "$output" "$work/run"
cp -a "$output/laioncele" "$work/plain"

# The run's own manifest, with a section of its own for the shards.
form() {
    name=$1
    shift
    "$python" - "$work/run" "$work/$name.toml" "$@" <<'PYTHON'
import json, pathlib, re, sys
run, to, lines = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
digest = json.loads((run / "run.json").read_text())["manifest"]
text = next(run.glob(f"manifests/{digest}*.toml")).read_text()
text = re.sub(r"(?ms)^\[pack_shards\]\n.*?(?=^\[|\Z)", "", text)
to.write_text(text + "\n[pack_shards]\n" + "\n".join(lines) + "\n")
PYTHON
    "$program" run --stage pack-shards --manifest "$work/$name.toml" --output "$work/run" >/dev/null
    cp -a "$work/run/laioncele" "$work/$name"
}

form packed 'repack = true' 'shard_bytes = 400000' 'webdataset = true'
form apart 'validation = 0.2' 'test = 0.1' 'ids = "text"' 'webdataset = true'
form whole 'ids = "int64"' 'columns = ["other_names", "faces", "landmarks", "face_embedding", "aligned_face"]'
"$python" "$here/check.py" "$work/plain" "$work/packed" "$work/apart" "$work/whole"
"$python" "$here/download.py" "$program"
