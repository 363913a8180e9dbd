"""Says where the time of `make bench-faces` goes: samples both sides with Linux's perf on one thread, and prints the
milliseconds that a photo of each size takes in each part.

    shares.py EMBED_PHOTOS_PROGRAM FACE_MODELS [SECONDS]
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

from bench import HERE, SIZES, Reference, Worker, write_photos

# A part, and words of which one is in the sample's library or function. The first that fits has the sample.
PARTS = {
    "networks": ["libonnxruntime", "onnxruntime_pybind11"],
    "kernel (fresh pages, system calls)": ["[kernel", "[k]", "[unknown]"],
    "OpenCV (decoding, shrinking, aligning)": ["cv2"],
    "JPEG decoding": ["zune_jpeg", "jpeg_decoder"],
    "shrinking": ["resize::"],
    "aligning": ["align::"],
    "tensors' planes": ["pixels::Pixels"],
    "copying and allocation (libc)": ["libc.so", "libc-2"],
    "Python and NumPy": ["python", "numpy", "openblas"],
}


def part(library, function):
    found = f"{library} {function}".replace("..", "::")
    return next((name for name, words in PARTS.items() if any(word in found for word in words)), "the rest")


def samples(data):
    """(share, library, function) by perf's report."""
    command = ["perf", "report", "-i", data, "--stdio", "-q", "--no-children", "-F", "overhead,dso,sym", "-t", "|"]
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        fields = [field.strip() for field in line.split("|", 2)]
        if len(fields) == 3 and fields[0].endswith("%"):
            yield float(fields[0].rstrip("%")) / 100, *fields[1:]


def profile(worker, group, photos, seconds, data):
    """Milliseconds of a photo by part, and the largest functions of the rest."""
    worker.ask(f"pass {group}")
    perf = subprocess.Popen(["perf", "record", "-q", "-F", "1999", "-p", str(worker.process.pid), "-o", data])
    time.sleep(0.5)
    if perf.poll() is not None:
        sys.exit("perf record ended: /proc/sys/kernel/perf_event_paranoid may forbid it")
    busy, passes = 0.0, 0
    while busy < seconds:
        busy += worker.ask(f"pass {group}")["busy"]
        passes += 1
    perf.send_signal(signal.SIGINT)
    perf.wait()
    each = 1000 * busy / passes / photos
    parts, rest = {}, []
    for share, library, function in samples(data):
        name = part(library, function)
        parts[name] = parts.get(name, 0.0) + share * each
        if name == "the rest":
            rest.append((share * each, library, function))
    return parts, sorted(rest, reverse=True)[:4]


def main(program, folder, seconds=10):
    with tempfile.TemporaryDirectory() as scratch:
        groups = write_photos(scratch, Reference(folder))
        listing = os.path.join(scratch, "photos.json")
        json.dump(groups, open(listing, "w"))
        for name, command in [
            ("Python", [sys.executable, os.path.join(HERE, "bench.py"), "--reference", folder, listing]),
            ("laioncele", [program, folder, listing, "1"]),
        ]:
            worker, found = Worker(name, command), []
            for group, photos in enumerate(groups):
                found.append(profile(worker, group, len(photos), float(seconds), os.path.join(scratch, "perf.data")))
            worker.close()
            print(f"\n{name}, milliseconds of a photo{'':12}" + "".join(f"{size:>13}" for size in SIZES))
            for row in [*PARTS, "the rest"]:
                print(f"{row:>40}" + "".join(f"{parts.get(row, 0.0):13.2f}" for parts, _ in found))
            print(f"{'all':>40}" + "".join(f"{sum(parts.values()):13.2f}" for parts, _ in found))
            for size, (_, rest) in zip(SIZES, found):
                print(f"{size:>40}  " + "; ".join(f"{ms:.2f} {function[:60]}" for ms, _, function in rest))


if __name__ == "__main__":
    main(*sys.argv[1:])
