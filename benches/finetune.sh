#!/bin/sh
# Measures training steps of diffusers and laioncele-finetune on the same models: benches/finetune.sh [OPTIONS OF bench.py]
# Takes the interpreter of PYTHON if it has diffusers and peft, else makes a virtual environment in benches/.venv-finetune.
set -eu

cd "$(dirname "$0")/.."
python=${PYTHON:-benches/.venv-finetune/bin/python}
if ! "$python" -c 'import diffusers, peft, torch' 2>/dev/null; then
    python3 -m venv benches/.venv-finetune
    python=benches/.venv-finetune/bin/python
    "$python" -m pip --disable-pip-version-check --quiet install torch==2.15.* diffusers==0.42.1 peft==0.21.2 transformers==5.23.0 \
        safetensors numpy accelerate
fi
cargo build --release --quiet --workspace --example throughput-finetune
"$python" benches/finetune/bench.py "${CARGO_TARGET_DIR:-target}/release/examples/throughput-finetune" \
    models/clip/tests/fixtures/tiny-a/model manifests/mini/sdxl-mini "$@"
