#!/bin/sh
# Draws the first two reference people of the run in $2 by `laioncele generate` and by tools/use-encoder.py, and compares.
#   tools/readers/use-encoder.sh LAIONCELE OUTPUT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=$1 output=$2
python=${PYTHON:-}
if [ -z "$python" ]; then
    python=$here/../../.readers/bin/python
    [ -e "$python" ] || python3 -m venv "$here/../../.readers"
    "$python" -m pip install --quiet torch diffusers transformers accelerate safetensors pillow
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$program" encoder export "$work/encoder" --output "$output" >/dev/null
"$program" encoder inspect "$work/encoder"
"$python" "$here/use_encoder.py" "$program" "$output" "$work"
