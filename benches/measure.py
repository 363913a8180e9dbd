"""Runs a program and says what it took: seconds, and the most memory that it and its children held together. And the
protocol of the benches that hold two programs against each other: a worker answers each line of its standard input, an
order, with a line of JSON."""

import json
import os
import resource
import subprocess
import sys
import threading
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


class Worker:
    """A program that does what it is asked, line by line; `variables` are added to its environment."""

    def __init__(self, name, command, **variables):
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ, **variables)
        )

    def ask(self, order):
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.name} ended: exit code {self.process.wait()}")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def serve(answer):
    """The other side: `answer` makes what is reported of each order."""
    for order in sys.stdin:
        print(json.dumps(answer(order.rstrip("\n"))), flush=True)


def clocked(work):
    """What `work` returns, and a report of this process: seconds by the wall clock and of the processors, peak bytes."""
    wall, busy = time.monotonic(), time.process_time()
    done = work()
    return done, {
        "wall": time.monotonic() - wall,
        "busy": time.process_time() - busy,
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def laioncele(*arguments):
    """The command line of the release build, which `make` has built."""
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    return [os.path.join(target, "release", "laioncele"), *arguments]


def resident(pid, kind="VmRSS"):
    """Resident bytes of a process and its descendants; of kind `RssAnon`, those that no file backs."""
    total = 0
    try:
        with open(f"/proc/{pid}/status") as file:
            kilobytes = next((line.split()[1] for line in file if line.startswith(f"{kind}:")), 0)
        total += int(kilobytes) * 1024
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            total += sum(resident(int(child), kind) for child in file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        pass
    return total


def measured(command, kind="VmRSS"):
    """What the program printed, seconds, peak bytes (see `resident`). Ends with the program's exit code where that is not 0."""
    started, peak, done = time.monotonic(), [0], threading.Event()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)

    def watch():
        while not done.wait(0.05):
            peak[0] = max(peak[0], resident(process.pid, kind))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    done.set()
    watcher.join()
    if process.returncode:
        sys.exit(process.returncode)
    return output, time.monotonic() - started, peak[0]


def run(manifest, output, *arguments):
    """`laioncele run` with its summary: steps, seconds, peak bytes."""
    place = ["--manifest", manifest, "--output", output]
    report, seconds, peak = measured(laioncele("run", "--json", "--quiet", *place, *arguments))
    return json.loads(report)["steps"], seconds, peak
