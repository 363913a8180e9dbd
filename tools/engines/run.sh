#!/bin/sh
# The embedded world's run on Slurm or Ray, with workers, nodes and the planner killed: run.sh BIN slurm|ray [together|apart]
# Installs the engine (Slurm from the system's packages, Ray from PyPI into tools/engines/.venv-ray) and an S3 server for
# runs in a bucket (moto, from PyPI into tools/engines/.venv-s3; S3_SERVER names another), and runs them in namespaces of
# their own, which takes root. Says what it skips, and passes then.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "$1") engine=$2
shift 2
skip() { echo "skipped: $*"; exit 0; }

[ "$(id -u)" = 0 ] || skip "only root may make the namespaces that $engine runs in"
unshare -nmp --fork true 2>/dev/null || skip "no right to make namespaces"
case $engine in
slurm)
    if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
        command -v apt-get >/dev/null || skip "slurmctld and munged are not installed"
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            slurmctld slurmd slurm-client munge || skip "Slurm cannot be installed"
    fi
    ;;
ray)
    python=${PYTHON:-$here/.venv-ray/bin/python}
    if ! "$python" -c 'import ray' 2>/dev/null; then
        python3 -m venv "$here/.venv-ray"
        python=$here/.venv-ray/bin/python
        "$python" -m pip --disable-pip-version-check --quiet install 'ray>=2.60' || skip "ray cannot be installed"
    fi
    export RAY_PYTHON="$python"
    ;;
*)
    echo "run.sh BIN slurm|ray [together|apart]" >&2
    exit 2
    ;;
esac
if [ -z "${S3_SERVER:-}" ]; then
    S3_SERVER=$here/.venv-s3/bin/moto_server
    if ! [ -x "$S3_SERVER" ]; then
        python3 -m venv "$here/.venv-s3"
        "$here/.venv-s3/bin/python" -m pip --disable-pip-version-check --quiet install 'moto[server]>=5.2' || S3_SERVER=
    fi
    export S3_SERVER
fi
# In a network of its own: Ray's head listens on all addresses. In a process namespace of its own: nothing outlives the test.
exec unshare -nmp --fork --mount-proc python3 "$here/conformance.py" "$binary" "$engine" "$@"
