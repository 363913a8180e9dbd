#!/bin/sh
# Runs laioncele against the hostile web in a network namespace of its own: run.sh BIN [options of `python -m hostile`].
# Without the right to make namespaces it says so and ends with 77.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/tools/hostile-web
venv=${HOSTILE_VENV:-$root/.hostile-web}

# As root, or as root of a user namespace.
if [ "$(id -u)" = 0 ]; then namespace="unshare --net --mount --fork"; else namespace="unshare --map-root-user --net --mount --fork"; fi
if ! $namespace sh -c 'ip link set lo up && ip route add local 0.0.0.0/0 dev lo' 2>/dev/null; then
    echo "skipped: no right to make a network namespace (or no ip command) on this machine"
    exit 77
fi
if [ ! -f "$venv/complete" ]; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet install cryptography hpack pillow pyarrow
    touch "$venv/complete"
fi
binary=$(realpath "$1")
shift
cd "$here"
# The environment names a proxy that nobody may use.
exec $namespace env HTTP_PROXY=http://127.0.0.1:3128 HTTPS_PROXY=http://127.0.0.1:3128 ALL_PROXY=socks5://127.0.0.1:3128 \
    http_proxy=http://127.0.0.1:3128 https_proxy=http://127.0.0.1:3128 \
    ORT_DYLIB_PATH="${ORT_DYLIB_PATH:-$root/.onnxruntime/libonnxruntime.so}" PYTHONDONTWRITEBYTECODE=1 \
    "$venv/bin/python" -m hostile --binary "$binary" --repository "$root" "$@"
