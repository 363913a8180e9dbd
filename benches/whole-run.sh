#!/bin/sh
# Builds a full world, runs it from nothing, runs it again, and prints the times, the peak memory and the figures.
#   benches/whole-run.sh [SEED]
set -eu

cd "$(dirname "$0")/.."
seed=${1:-1}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
laioncele() { cargo run --release --quiet -- "$@"; }

laioncele mini build --seed "$seed" --size full "$folder/world"
for run in first second; do
    python3 - "$run" "$folder" <<'PYTHON'
import json, resource, subprocess, sys, threading, time

run, folder = sys.argv[1:]
place = ["--manifest", f"{folder}/world/mini.toml", "--output", f"{folder}/run"]
command = ["cargo", "run", "--release", "--quiet", "--", "run", "--json", "--quiet", *place]


def resident(pid):
    """Resident bytes of a process and its descendants."""
    total = 0
    try:
        with open(f"/proc/{pid}/statm") as f:
            total += int(f.read().split()[1]) * resource.getpagesize()
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            total += sum(resident(int(child)) for child in f.read().split())
    except (FileNotFoundError, ProcessLookupError):
        pass
    return total


started = time.monotonic()
process = subprocess.Popen(command, stdout=subprocess.PIPE)
peak, done = [0], threading.Event()


def watch():
    while not done.wait(0.1):
        peak[0] = max(peak[0], resident(process.pid))


watcher = threading.Thread(target=watch)
watcher.start()
output, _ = process.communicate()
done.set()
watcher.join()
seconds = time.monotonic() - started
if process.returncode:
    sys.exit(process.returncode)
steps = json.loads(output)["steps"]
print(f"{run} run: {seconds:.1f} s, peak memory {peak[0] / 1e9:.2f} GB, {sum(s['ran'] for s in steps)} tasks run")
if run == "first":
    for step in steps:
        print(f"  {step['seconds']:7.1f} s  {step['step']}")
PYTHON
done
laioncele mini score --manifest "$folder/world/mini.toml" --output "$folder/run"
