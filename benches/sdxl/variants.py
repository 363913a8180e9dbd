"""What variants of a model cost: a LoRA that is merged, at each step; a model in one file, while it is loaded.

    variants.py THROUGHPUT_PROGRAM MODEL_FOLDER [--passes N] [--steps N] [--only-load] [--precision f32]

LoRA and single file are made from the folder. Passes with and without go in turn; the best of each counts. Run with an
interpreter that has torch and safetensors.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import bench
import measure
import single_file

RANK = 16


def write_lora(folder, file):
    """A LoRA beside every projection of the U-Net's attentions, of small random numbers, under kohya's names."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    torch.manual_seed(1)
    config = json.loads((folder / "unet" / "config.json").read_text())
    places, tensors = single_file.unet_places(config), {}
    for weights in sorted((folder / "unet").glob("*.safetensors")):
        with safe_open(weights, "pt") as opened:
            for name in opened.keys():
                if not name.endswith(("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight")):
                    continue
                out, width = opened.get_slice(name).get_shape()
                module = "lora_unet_" + single_file.unet_name(name.removesuffix(".weight"), places).replace(".", "_")
                tensors[f"{module}.lora_down.weight"] = torch.randn(RANK, width) / width**0.5
                tensors[f"{module}.lora_up.weight"] = torch.randn(out, RANK) * 0.02
                tensors[f"{module}.alpha"] = torch.tensor(float(RANK))
    save_file(tensors, file)
    return len(tensors) // 3


def steps(program, folder, lora, arguments):
    threads = os.cpu_count()
    plain = bench.Worker("plain", [program, folder, "f32", "cpu"], threads)
    merged = bench.Worker("with a LoRA", [program, folder, "f32", "cpu", "--lora", lora], threads)
    order = {"images": threads, "steps": arguments.steps, "size": bench.image_size(folder), "guidance": 4.0,
             "threads": threads, "seed": 1}
    apart = bench.difference((plain, merged), order)
    walls = bench.best_of((plain, merged), order, arguments.passes)[:2]
    without, with_it = (wall / order["images"] / arguments.steps * 1000 for wall in walls)
    print(f"a step of an image, ms: {without:.2f} without, {with_it:.2f} with the LoRA merged: {with_it / without:.3f} x"
          f" (images {apart:.1f} levels of 255 apart)", flush=True)
    for worker in (plain, merged):
        worker.close()


def loads(program, folder, file, arguments):
    """Seconds and memory of loading all parts, from the folder and from the file: the best of several passes, the passes of
    each in a row, since the memory that keeps read files may not hold both."""
    ways = {"folder": [folder], "file": [str(file), "--base", folder]}
    print(f"{'loading':10} {'seconds':>8} {'of a processor':>15} {'memory, MB':>11} {'with mapped files, MB':>22}")
    best = []
    for way, (model, *more) in ways.items():
        command = [program, model, arguments.precision, "cpu", *more, "--load"]
        passes = []
        for _ in range(arguments.passes):
            report, _, peak = measure.measured(command, "RssAnon")
            report = json.loads(report)
            passes.append((report["wall"], report["busy"], peak / 1e6, report["peak_memory"] / 1e6))
        best.append([min(figures) for figures in zip(*passes)])
        wall, busy, own, resident = best[-1]
        print(f"{way:10} {wall:8.2f} {busy:15.2f} {own:11.0f} {resident:22.0f}")
    ratios = [f"{of_file / of_folder:.2f}" if of_folder else "-" for of_folder, of_file in zip(*best)]
    print(f"{'ratio':10} {ratios[0]:>8} {ratios[1]:>15} {ratios[2]:>11} {ratios[3]:>22}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--only-load", action="store_true")
    parser.add_argument("--scratch", default=None, help="where the files are written; beside nothing else [the system's]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as temporary:
        if not arguments.only_load:
            lora = os.path.join(temporary, "lora.safetensors")
            modules = write_lora(Path(arguments.folder), lora)
            print(f"LoRA of rank {RANK} on {modules} projections of {arguments.folder}")
            steps(arguments.program, arguments.folder, lora, arguments)
        file = Path(temporary) / "model.safetensors"
        single_file.write(Path(arguments.folder), file)
        loads(arguments.program, arguments.folder, file, arguments)


if __name__ == "__main__":
    sys.exit(main())
