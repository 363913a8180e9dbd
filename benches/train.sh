#!/bin/sh
# Measures PyTorch's trainer and laioncele-train-encoder on the same network: benches/train.sh [STEPS] [PASSES] [BATCH INPUT HIDDEN OUTPUT]
# Makes a virtual environment with torch in benches/.venv-train where there is none; PYTHON=… is another interpreter that has it.
set -eu

cd "$(dirname "$0")/.."
python=${PYTHON:-benches/.venv-train/bin/python}
if ! "$python" -c 'import torch' 2>/dev/null; then
    python3 -m venv benches/.venv-train
    benches/.venv-train/bin/python -m pip --disable-pip-version-check --quiet install torch==2.15.0
fi
cargo build --release --quiet -p laioncele-train-encoder --example bench-train
target=${CARGO_TARGET_DIR:-target}
"$python" benches/train/bench.py "$target/release/examples/bench-train" "$@"
