#!/bin/sh
# Brings the CUDA toolkit that `--features cuda` and `cudnn` are built with out of the PyPI wheels into a folder, by default
# .cuda/, for a machine that has none; no GPU and no driver are needed to build.
#   tools/fetch-cuda.sh [FOLDER]
#   CUDA_HOME=$PWD/.cuda CUDA_COMPUTE_CAP=90 cargo build --release --features cudnn
# CUDA 13.0 wants a driver of 580 or newer where the program runs. nvcc 13.0 takes gcc up to 15.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$root/.cuda}
toolkit="nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96
    nvidia-cuda-cccl==13.0.85 nvidia-cuda-nvrtc==13.0.88 nvidia-cublas==13.0.2.14 nvidia-curand==10.4.0.35
    nvidia-cudnn-cu13==9.21.1.3"

if [ -f "$folder/version" ] && [ "$(cat "$folder/version")" = "$toolkit" ]; then
    exit 0
fi

mkdir -p "$folder"
download=$(mktemp -d "$folder/download.XXXXXX")
trap 'rm -rf "$download"' EXIT
# shellcheck disable=SC2086 # one argument for each package
python3 -m pip --disable-pip-version-check --quiet download --no-deps --only-binary=:all: --dest "$download" $toolkit
python3 - "$download" "$folder" <<'PYTHON'
import os, pathlib, re, sys, zipfile

download, folder = map(pathlib.Path, sys.argv[1:])
# cuDNN has a folder of its own beside the toolkit's.
inside = re.compile(r"nvidia/(?:cu13|cudnn)/((?:bin|include|lib|nvvm)/.+)")
for wheel in download.glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            found = inside.fullmatch(name)
            if not found or name.endswith(("/", ".py")):
                continue
            target = folder / found[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
            target.chmod(0o755 if "/bin/" in name or ".so" in name else 0o644)
# Wheels hold libraries under their version's name alone, without the one that a linker looks for.
for library in (folder / "lib").glob("*.so.*"):
    link = library.with_name(library.name.split(".so.")[0] + ".so")
    if not link.exists():
        link.symlink_to(library.name)
if not (folder / "lib64").exists():
    (folder / "lib64").symlink_to("lib")
# The driver's library comes with the driver: what is linked against here has its names and no code.
header = (folder / "include/cuda.h").read_text()
names = sorted(set(re.findall(r"\bcu[A-Z]\w*", header)) - set(re.findall(r"\bcu\w+_st\b", header)))
(folder / "lib/stubs").mkdir(exist_ok=True)
(download / "stub.c").write_text("".join(f"void {name}(void) {{}}\n" for name in names))
PYTHON
cc -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$folder/lib/stubs/libcuda.so" "$download/stub.c"
echo "$toolkit" > "$folder/version"
