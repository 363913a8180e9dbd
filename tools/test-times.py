#!/usr/bin/env python3
"""Runs a cargo test command and prints its ten slowest tests and test binaries at the end.

    tools/test-times.py cargo test --release --workspace

Cargo starts every test binary through this script (its `runner` setting), which adds libtest's own --report-time and
passes every line on. That option is unstable: RUSTC_BOOTSTRAP unlocks it in the test binary alone, nothing is
compiled with it. A binary that refuses it, such as a documentation test, runs as it is.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

LOG = "LAIONCELE_TEST_TIMES"  # the file that both halves of this script share
TIMED = re.compile(r"^test (?P<name>.+?)(?: - should panic)? \.\.\. (?:ok|FAILED) <(?P<seconds>[0-9.]+)s>")
OPTIONS = ["-Z", "unstable-options", "--report-time"]
SLOWEST = 10


def main(command):
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder, "times")
        log.touch()
        runner = f'target."cfg(all())".runner = ["{sys.executable}", "{os.path.abspath(__file__)}", "--run"]'
        cargo, *rest = command
        status = subprocess.run([cargo, "--config", runner, *rest], env={**os.environ, LOG: str(log)}).returncode
        report([line.split("\t") for line in log.read_text().splitlines()])
    return status


def report(rows):
    for kind, title in (("test", "slowest tests"), ("binary", "slowest test binaries")):
        times = sorted(((float(s), b, n) for k, s, b, n in rows if k == kind), reverse=True)
        print(f"\nThe {min(SLOWEST, len(times))} {title} of {len(times)}:")
        for seconds, binary, name in times[:SLOWEST]:
            print(f"{seconds:9.1f} s  {binary}  {name}".rstrip())
    sys.stdout.flush()


def run(binary, *arguments):
    """One test binary, as cargo starts it."""
    log = os.environ.pop(LOG)
    environment = {**os.environ, "RUSTC_BOOTSTRAP": "1"}
    timed = os.path.basename(os.path.dirname(binary)) == "deps" and (
        subprocess.run([binary, *OPTIONS, "--list"], env=environment, capture_output=True).returncode == 0
    )
    if not timed:
        os.execv(binary, [binary, *arguments])
    crate, name = os.environ.get("CARGO_PKG_NAME", ""), re.sub(r"-[0-9a-f]{16}$", "", os.path.basename(binary))
    name = name if name == crate.replace("-", "_") else f"{crate}:{name}"
    start = time.monotonic()
    rows = []
    with subprocess.Popen([binary, *OPTIONS, *arguments], env=environment, stdout=subprocess.PIPE, text=True, errors="replace") as test:
        for line in test.stdout:
            print(line, end="", flush=True)
            if found := TIMED.match(line):
                rows.append(f"test\t{found['seconds']}\t{name}\t{found['name']}\n")
    rows.append(f"binary\t{time.monotonic() - start:.3f}\t{name}\t\n")
    with open(log, "a") as out:
        out.writelines(rows)
    # As cargo sees a child: its code, or the signal that ended it.
    if test.returncode < 0:
        os.kill(os.getpid(), -test.returncode)
    return test.returncode


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(run(*sys.argv[2:]) if sys.argv[1] == "--run" else main(sys.argv[1:]))
