#!/bin/sh
# Measures img2dataset and laioncele-download on the same photos of the same local server: benches/download.sh [SMALL [LARGE [PASSES]]]
# Makes a virtual environment with img2dataset in benches/.venv-download where there is none.
set -eu

cd "$(dirname "$0")/.."
venv=benches/.venv-download
if ! "$venv/bin/python" -c 'import img2dataset' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet install img2dataset==1.47.0
fi
cargo build --release --quiet -p laioncele-download --examples
target=${CARGO_TARGET_DIR:-target}
photos=$target/bench-download
"$venv/bin/python" benches/download/photos.py "$photos" "${1:-20000}" "${2:-500}"
"$venv/bin/python" benches/download/bench.py "$target/release/examples" "$photos" "${3:-2}"
