"""Builds a full world, runs it from nothing, runs it again, and prints the times, the peak memory and the figures.

    whole-run.py [SEED]
"""

import os
import subprocess
import sys
import tempfile

import measure


def main(seed="1"):
    with tempfile.TemporaryDirectory() as folder:
        world, output = os.path.join(folder, "world"), os.path.join(folder, "run")
        manifest = os.path.join(world, "mini.toml")
        build = measure.laioncele("mini", "build", "--seed", seed, "--size", "full", world)
        subprocess.run(build, check=True)
        for run in ("first", "second"):
            steps, seconds, peak = measure.run(manifest, output)
            tasks = sum(step["ran"] for step in steps)
            print(f"{run} run: {seconds:.1f} s, peak memory {peak / 1e9:.2f} GB, {tasks} tasks run", flush=True)
            if run == "first":
                for step in steps:
                    print(f"  {step['seconds']:7.1f} s  {step['step']}")
        subprocess.run(measure.laioncele("mini", "score", "--manifest", manifest, "--output", output), check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
