#!/bin/sh
# Measures Python's imagehash and dedupe-images' hashes on the same photos, pass by pass in turn: benches/ahash.sh [PASSES] [PHOTOS]
# Makes a virtual environment with it in benches/.venv-ahash where there is none.
set -eu

cd "$(dirname "$0")/.."
venv=benches/.venv-ahash
if ! "$venv/bin/python" -c 'import imagehash' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet install \
        numpy==2.4.6 pillow==12.0.0 imagehash==4.3.2
fi
cargo build --release --quiet -p laioncele-dedupe-images --example bench-ahash
target=${CARGO_TARGET_DIR:-target}
"$venv/bin/python" benches/ahash/bench.py "$target/release/examples/bench-ahash" "$@"
