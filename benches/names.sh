#!/bin/sh
# Measures normalizing and merging of names, and rapidfuzz on a sample: benches/names.sh [SPELLINGS] [SEED] [SAMPLE]
# Makes a virtual environment with rapidfuzz in benches/.venv-names where there is none.
set -eu

cd "$(dirname "$0")/.."
venv=benches/.venv-names
if ! "$venv/bin/python" -c 'import rapidfuzz, numpy' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet install rapidfuzz==3.14.6 numpy
fi
sample=$(mktemp)
trap 'rm -f "$sample"' EXIT
cargo run --release --quiet -p laioncele-merge-names --example names -- "${1:-10000000}" "${2:-1}" "${3:-200000}" "$sample"
"$venv/bin/python" benches/names/rapid.py "$sample" "${1:-10000000}"
