#!/bin/sh
# Runs a command where a program for NVIDIA GPUs is built or run: with nvcc in PATH and the toolkit's libraries where the
# loader finds them. The toolkit is that of CUDA_HOME, else of nvcc in PATH, else /usr/local/cuda, else what
# tools/fetch-cuda.sh brings.
#   tools/with-cuda.sh cargo build --release --features cudnn
#   tools/with-cuda.sh target/release/laioncele doctor
set -eu

if [ -z "${CUDA_HOME:-}" ]; then
    if nvcc=$(command -v nvcc); then
        CUDA_HOME=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
        in_path=yes
    elif [ -x /usr/local/cuda/bin/nvcc ]; then
        CUDA_HOME=/usr/local/cuda
    else
        root=$(cd "$(dirname "$0")/.." && pwd)
        "$root/tools/fetch-cuda.sh"
        CUDA_HOME=$root/.cuda
    fi
fi
export CUDA_HOME
# An nvcc that is found stays where it is found: of a distribution its folder holds other programs too.
[ -n "${in_path:-}" ] || PATH=$CUDA_HOME/bin:$PATH
export PATH LD_LIBRARY_PATH="$CUDA_HOME/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$@"
