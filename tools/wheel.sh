#!/bin/sh
# Builds the wheel of the program: .wheel/laioncele-VERSION-py3-none-PLATFORM.whl. Cargo's folder and profile are those of `make build`, so that
# only the last link is made again.
#   tools/wheel.sh [arguments for maturin build, such as --features cudnn]
set -eu
cd "$(dirname "$0")/.."
venv=.venv-wheel
python=$venv/bin/python
if ! "$python" -m maturin --version >/dev/null 2>&1; then
    python3 -m venv "$venv"
    "$python" -m pip --disable-pip-version-check --quiet install 'maturin>=1.7,<2'
fi

# What the program looks for in share/laioncele beside its bin.
share=.wheel/laioncele.data/data/share/laioncele
rm -rf .wheel
mkdir -p "$share"
cp -R manifests LICENSE NOTICE "$share/"

"$python" -m maturin build --release --locked --out .wheel "$@"
ls -l .wheel/*.whl
