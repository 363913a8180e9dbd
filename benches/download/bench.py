"""Measures downloads: img2dataset and laioncele-download, pass by pass in turn, from the same local server.

    bench.py FOLDER_OF_EXAMPLES FOLDER_OF_PHOTOS [PASSES]

Both prove every photo sound, compute its SHA-256 and write it to a file; with `256` both make it smaller. Prints photos per second by the
clock and per second of the processors (of the client with all its processes), peak memory, the ratio of the best passes, and how
much of our time the decoder alone takes.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import measure  # noqa: E402

# Addresses of the loopback device that the urls are spread over, as sites would be.
HOSTS = 16
IMG2DATASET = os.path.join(os.path.dirname(sys.executable), "img2dataset")


def clocked(command, counts):
    """Seconds by the clock and of the processors, peak bytes, and what `counts` reads of the program's output."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process, peak, done = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True), [0], threading.Event()

    def watch():
        while not done.wait(0.05):
            peak[0] = max(peak[0], measure.resident(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    wall = time.monotonic() - started
    done.set()
    watcher.join()
    if process.returncode:
        sys.exit(f"{command[0]}: exit code {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "busy": busy, "peak": peak[0], "photos": counts(output)}


def img2dataset(list_of_urls, side, folder):
    resize = ["--resize_mode", "no", "--skip_reencode", "True"] if side is None else ["--resize_mode", "keep_ratio_largest", "--image_size", str(side), "--resize_only_if_bigger", "True"]
    command = [
        *(IMG2DATASET, "--url_list", list_of_urls, "--input_format", "txt", "--output_folder", folder),
        *("--output_format", "webdataset", "--processes_count", str(os.cpu_count()), "--thread_count", "64"),
        *("--number_sample_per_shard", "2500", "--enable_wandb", "False", "--retries", "2", *resize),
    ]

    def counts(_):
        import json

        stats = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith("_stats.json")]
        return sum(json.load(open(path))["successes"] for path in stats)

    return clocked(command, counts)


def ours(program, list_of_urls, side, folder):
    os.makedirs(folder)
    resize = [] if side is None else ["--max-side", str(side)]
    command = [program, "--allow-hosts", str(HOSTS), "--output", os.path.join(folder, "photos"), *resize, list_of_urls]
    return clocked(command, lambda output: int(output.split()[0]))


def report(name, passes):
    best = min(passes, key=lambda p: p["busy"])
    wall = min(p["wall"] for p in passes)
    peak = max(p["peak"] for p in passes)
    photos = best["photos"]
    print(f"  {name:12} {photos} photos, {photos / wall:7.0f} per s, {photos / best['busy']:7.0f} per s of a processor, {peak / 1e6:5.0f} MB", flush=True)
    return photos / wall, photos / best["busy"]


def main(examples, photos, passes):
    server = subprocess.Popen([os.path.join(examples, "photo_server"), photos, str(HOSTS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    port = int(server.stdout.readline())
    program = os.path.join(examples, "download_photos")
    names = sorted(name for name in os.listdir(photos) if name.endswith(".jpg"))
    scratch = tempfile.mkdtemp()
    for kind in ("small", "large"):
        listed = [f"http://127.0.0.{k % HOSTS + 1}:{port}/{name}\n" for k, name in enumerate(n for n in names if n.startswith(kind))]
        urls = os.path.join(scratch, f"{kind}.txt")
        with open(urls, "w") as file:
            file.writelines(listed)
        for side in (None, 256):
            print(f"{len(listed)} {kind} photos, " + ("as they are" if side is None else f"to {side} pixels"), flush=True)
            theirs, own = [], []
            for k in range(passes):
                for results, measured in ((theirs, lambda folder: img2dataset(urls, side, folder)), (own, lambda folder: ours(program, urls, side, folder))):
                    folder = os.path.join(scratch, "output")
                    results.append(measured(folder))
                    shutil.rmtree(folder)
            (their_wall, their_busy), (our_wall, our_busy) = report("img2dataset", theirs), report("laioncele", own)
            print(f"  ratio: {our_wall / their_wall:.2f} by the clock, {our_busy / their_busy:.2f} per second of a processor")
    decoded = clocked([program, "--decode", photos], lambda output: int(output.split()[0]))
    print(f"the decoder alone: {decoded['photos'] / decoded['busy']:.0f} photos per s of a processor")
    server.stdin.close()
    server.wait()
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 2)
