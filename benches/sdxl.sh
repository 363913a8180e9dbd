#!/bin/sh
# Measures diffusers and laioncele-sdxl on the same models: benches/sdxl.sh [PASSES] [STEPS]
# On the processor with the embedded world's model and a tiny random one; where nvidia-smi finds a GPU also on that, with
# random weights of the real size. SDXL_FOLDER, an SDXL of the real size, is loaded as it is and as one file. Takes the
# interpreter of PYTHON if it has diffusers, else makes a virtual environment with it in benches/.venv-sdxl.
set -eu

cd "$(dirname "$0")/.."
passes=${1:-5} steps=${2:-20}
python=${PYTHON:-benches/.venv-sdxl/bin/python}
if ! "$python" -c 'import diffusers, torch, transformers' 2>/dev/null; then
    python3 -m venv benches/.venv-sdxl
    python=benches/.venv-sdxl/bin/python
    "$python" -m pip --disable-pip-version-check --quiet install torch==2.15.* diffusers==0.42.1 transformers==5.23.0 \
        safetensors pillow numpy accelerate
fi
target=${CARGO_TARGET_DIR:-target}
# The whole workspace's features, so that nothing is compiled a second time.
cargo build --release --quiet --workspace --example throughput-sdxl --example throughput-ip-adapter --bin random-sdxl
"$python" benches/sdxl/bench.py cpu "$target/release/examples/throughput-sdxl" manifests/mini/sdxl-mini \
    models/clip/tests/fixtures/tiny-a/model --passes "$passes" --steps "$steps"
echo
echo "IP-Adapter, images a second on the processor:"
"$python" benches/sdxl/ip_adapter.py "$target/release/examples/throughput-ip-adapter" manifests/mini/sdxl-mini \
    manifests/mini/sdxl-mini/image_encoder_2 models/clip/tests/fixtures/tiny-a/images/landscape_rgb.png \
    --passes "$passes" --steps "$steps"
echo
echo "A LoRA merged, and a model in one file:"
"$python" benches/sdxl/variants.py "$target/release/examples/throughput-sdxl" manifests/mini/sdxl-mini \
    --passes "$passes" --steps "$steps"
# SDXL_FOLDER, or the random one of the real size where it is there.
folder=${SDXL_FOLDER:-$target/bench-sdxl-full}
if [ -f "$folder/model_index.json" ]; then
    echo "A model of the real size in one file, float16:"
    "$python" benches/sdxl/variants.py "$target/release/examples/throughput-sdxl" "$folder" --passes 2 --precision f16 \
        --only-load --scratch "$target"
fi
echo
if ! nvidia-smi >/dev/null 2>&1; then
    echo "no GPU here: not measured"
    exit 0
fi
tools/with-cuda.sh cargo build --release --quiet --target-dir "$target/cuda" --workspace --features laioncele/cudnn \
    --example throughput-sdxl
folder=$target/bench-sdxl-full
[ -f "$folder/model_index.json" ] || "$target/release/random-sdxl" "$folder"
"$python" benches/sdxl/bench.py gpu "$target/cuda/release/examples/throughput-sdxl" "$folder" --passes 3
