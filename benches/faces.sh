#!/bin/sh
# Measures OpenCV with Python's ONNX Runtime and laioncele-face on the same photos: benches/faces.sh [PASSES]
# Says where the time goes (needs Linux's perf): benches/faces.sh profile [SECONDS]
# Makes a virtual environment with them in benches/.venv-faces where there is none.
set -eu

cd "$(dirname "$0")/.."
venv=benches/.venv-faces
if ! "$venv/bin/python" -c 'import cv2, onnxruntime' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet install \
        numpy==2.4.6 opencv-python-headless==5.0.0.93 onnxruntime==1.32.0
fi
cargo build --release --quiet --workspace --example embed_photos
target=${CARGO_TARGET_DIR:-target}
script=bench.py
if [ "${1:-}" = profile ]; then
    script=shares.py
    shift
fi
"$venv/bin/python" "benches/faces/$script" "$target/release/examples/embed_photos" manifests/mini/face "$@"
