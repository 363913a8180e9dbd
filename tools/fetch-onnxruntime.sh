#!/bin/sh
# Brings the ONNX Runtime library out of the PyPI wheel into .onnxruntime/, where the face networks look for it.
#   tools/fetch-onnxruntime.sh [VERSION]
# Any release from 1.22 on serves; the default is the one that the recorded fixtures were made with.
# With the library already at hand, set ORT_DYLIB_PATH to it instead.
set -eu

version=${1:-1.32.0}
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$root/.onnxruntime
case $(uname -s) in
    Darwin) name=libonnxruntime.dylib pattern='onnxruntime/capi/libonnxruntime.*dylib' ;;
    *) name=libonnxruntime.so pattern='onnxruntime/capi/libonnxruntime.so*' ;;
esac

if [ -f "$folder/$name" ] && [ "$(cat "$folder/version" 2>/dev/null)" = "$version" ]; then
    exit 0
fi

mkdir -p "$folder"
download=$(mktemp -d "$folder/download.XXXXXX")
trap 'rm -rf "$download"' EXIT
# One interpreter's wheel is named, so that the interpreter at hand does not matter: only the library is taken out of it.
python3 -m pip --disable-pip-version-check --quiet download --no-deps --only-binary=:all: \
    --python-version 3.12 --implementation cp --abi cp312 --dest "$download" "onnxruntime==$version"
python3 - "$download" "$pattern" "$folder/$name" <<'PYTHON'
import fnmatch, os, pathlib, sys, zipfile

download, pattern, target = sys.argv[1:]
(wheel,) = pathlib.Path(download).glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    library = max((n for n in archive.namelist() if fnmatch.fnmatch(n, pattern)), key=len, default=None)
    if library is None:
        sys.exit(f"{wheel.name} holds no {pattern}")
    partial = target + ".partial"
    with open(partial, "wb") as out:
        out.write(archive.read(library))
os.replace(partial, target)
PYTHON
echo "$version" > "$folder/version"
