"""Measures diffusers and laioncele-sdxl on the same models in the same minutes, pass by pass in turn: from text embeddings
to RGB bytes, DDIM with guidance, the same torch noise, so that the images can be compared too.

    bench.py cpu THROUGHPUT_PROGRAM MODEL_FOLDER... [--passes N] [--steps N]
    bench.py gpu THROUGHPUT_PROGRAM MODEL_FOLDER [--passes N]

Run with the interpreter that has diffusers. `gpu` says so and measures nothing where torch finds none.
"""

import argparse
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import measure  # noqa: E402

PROMPT, NAME = "a portrait of a person", "Maria Johnson"
# Our libraries are not torch's, which brings its own.
WITH_CUDA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/with-cuda.sh")
# TFLOP of a step of a guided image and of its decoding, counted on the real network (a multiply-add is two).
TFLOP = {1024: (13.52, 10.5), 512: (3.18, 2.6)}


class Diffusers:
    """diffusers under the protocol of the example `throughput-sdxl`."""

    def __init__(self, folder, precision, device, compiled=False):
        import torch
        import transformers
        from diffusers import DDIMScheduler, StableDiffusionXLPipeline, logging

        for library in (logging, transformers.logging):
            library.set_verbosity_error()
            library.disable_progress_bar()
        self.torch, self.device = torch, device
        torch.set_grad_enabled(False)
        dtype = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[precision]
        half = os.path.exists(os.path.join(folder, "unet", "diffusion_pytorch_model.fp16.safetensors"))
        pipe = StableDiffusionXLPipeline.from_pretrained(
            folder, dtype=dtype, add_watermarker=False, variant="fp16" if half else None
        )
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
        pipe.set_progress_bar_config(disable=True)
        self.pipe = pipe.to(device)
        self.texts = self.encode()
        if compiled:
            pipe.unet.to(memory_format=torch.channels_last)
            pipe.unet = torch.compile(pipe.unet, mode="max-autotune", fullgraph=True)

    def encode(self):
        def encode(text):
            embeds, _, pooled, _ = self.pipe.encode_prompt(
                text, device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False
            )
            return embeds, pooled

        (prompt, pooled), (name, _), (null, null_pooled) = map(encode, (PROMPT, NAME, ""))
        # Name Prepending.
        prompt = self.torch.cat([prompt[:, :1], name[:, 1:9], prompt[:, 1:69]], 1)
        names = ("prompt_embeds", "pooled_prompt_embeds", "negative_prompt_embeds", "negative_pooled_prompt_embeds")
        return dict(zip(names, (prompt, pooled, null, null_pooled)))

    def images(self, order):
        torch, count, images = self.torch, order["images"], []
        batch = order.get("batch") or count
        for first in range(0, count, batch):
            part = min(batch, count - first)
            seeds = [order["seed"] + first + k for k in range(part)]
            noise = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
            texts = {key: value.repeat_interleave(part, 0) for key, value in self.texts.items()}
            images += self.pipe(
                **texts, num_inference_steps=order["steps"], guidance_scale=order["guidance"],
                height=order["size"], width=order["size"], generator=noise, output_type="pil",
            ).images
        return images

    def generate(self, order):
        import numpy

        if order["threads"]:
            self.torch.set_num_threads(order["threads"])
        images, report = measure.clocked(lambda: self.images(order))
        if order.get("into"):
            with open(order["into"], "wb") as file:
                for image in images:
                    file.write(numpy.asarray(image).tobytes())
        return report


class Worker(measure.Worker):
    """A worker that draws, on so many threads, or as it likes if 0."""

    def __init__(self, name, command, threads):
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
        super().__init__(name, command, **dict.fromkeys(names if threads else (), str(threads)))

    def ask(self, order):
        return super().ask(json.dumps(order))


def peer(folder, precision, device, *flags):
    return [sys.executable, __file__, "--diffusers", folder, precision, device, *flags]


def best_of(workers, order, passes):
    """Each worker's best seconds of `passes` passes in turn, after one that is not counted."""
    for worker in workers:
        batch = worker.ask(order).get("batch")
        if batch and order.get("batch") and batch != order["batch"]:
            print(f"{worker.name}: the memory holds {batch} images at once, not {order['batch']}", flush=True)
    reports = [[worker.ask(order) for worker in workers] for _ in range(passes)]
    return [min(report[clock] for report in column) for clock in ("wall", "busy") for column in zip(*reports)]


def difference(workers, order):
    """Mean difference of the two workers' bytes, in levels of 255."""
    import numpy

    with tempfile.TemporaryDirectory() as scratch:
        files = [os.path.join(scratch, str(k)) for k in range(2)]
        for worker, file in zip(workers, files):
            worker.ask(order | {"into": file})
        ours, theirs = (numpy.fromfile(file, dtype=numpy.uint8).astype(numpy.int16) for file in files)
    return float(numpy.abs(ours - theirs).mean())


def image_size(folder):
    def read(part):
        with open(os.path.join(folder, part, "config.json"), encoding="utf-8") as file:
            return json.load(file)

    return read("unet")["sample_size"] * 2 ** (len(read("vae")["block_out_channels"]) - 1)


def cpu(program, folders, passes, steps):
    cores = len(os.sched_getaffinity(0))
    print(f"CPU, float32, {steps} steps, best of {passes} passes in turn; images per second by the wall clock\n")
    print(f"{'model':12} {'size':>5} {'threads':>7} {'images':>8} {'laioncele':>10} {'diffusers':>10} {'ratio':>6}"
          f" {'per processor s':>15} {'levels apart':>13}")
    for folder in folders:
        for threads in sorted({1, cores}):
            ours = Worker("laioncele", [program, folder, "f32", "cpu"], threads)
            theirs = Worker("diffusers", peer(folder, "f32", "cpu"), threads)
            for images in (1, 4):
                order = {"images": images, "steps": steps, "size": image_size(folder), "guidance": 4.0,
                         "threads": threads, "seed": 1}
                apart = difference((ours, theirs), order)
                wall, their_wall, busy, their_busy = best_of((ours, theirs), order, passes)
                name = [part for part in os.path.normpath(folder).split(os.sep) if part != "model"][-1]
                print(f"{name:12} {order['size']:5} {threads:7} {images:8} {images / wall:10.3f}"
                      f" {images / their_wall:10.3f} {their_wall / wall:6.2f} {their_busy / max(busy, 0.01):15.2f} {apart:13.4f}",
                      flush=True)
            ours.close()
            theirs.close()


def matrix_peak():
    """TFLOP/s of a large float16 matrix product, the best of some."""
    import torch

    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.float16) for _ in range(2))
    best = float("inf")
    for _ in range(20):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        a @ b
        end.record()
        torch.cuda.synchronize()
        best = min(best, begin.elapsed_time(end) / 1000)
    return 2 * 8192**3 / best / 1e12


def gpu(program, folder, passes):
    import torch

    if not torch.cuda.is_available():
        print("no GPU here: not measured")
        return
    peak = matrix_peak()
    print(f"{torch.cuda.get_device_name(0)}, float16, VAE in float32 with TF32 convolutions; a matrix product reaches {peak:.0f} TFLOP/s\n")
    print(f"{'size':>5} {'steps':>5} {'batch':>5} {'laioncele':>10} {'eager':>10} {'compiled':>10} {'x eager':>8}"
          f" {'x compiled':>10} {'of the peak':>11} {'levels apart':>13}")
    for size in (1024, 512):
        # One after the other: each may fill the memory, and a compiled U-Net is compiled for one size.
        for steps in (20, 100):
            for batch in (1, 4, 8):
                order = {"images": batch, "steps": steps, "size": size, "guidance": 7.0, "threads": 0,
                         "seed": 1, "batch": batch}
                ours = Worker("laioncele", [WITH_CUDA, program, folder, "f16", "cuda:0"], 0)
                eager = Worker("diffusers", peer(folder, "f16", "cuda"), 0)
                fast = Worker("diffusers, compiled", peer(folder, "f16", "cuda", "--compile"), 0)
                apart = difference((ours, eager), order)
                walls = best_of((ours, eager, fast), order, passes)[:3]
                for worker in (ours, eager, fast):
                    worker.close()
                step, decode = TFLOP[size]
                share = batch * (steps * step + decode) / walls[0] / peak
                rates = " ".join(f"{batch / wall:10.3f}" for wall in walls)
                print(f"{size:5} {steps:5} {batch:5} {rates} {walls[1] / walls[0]:8.2f} {walls[2] / walls[0]:10.2f}"
                      f" {share:11.2f} {apart:13.4f}", flush=True)


def serve(folder, precision, device, *flags):
    worker = Diffusers(folder, precision, device, compiled="--compile" in flags)
    measure.serve(lambda order: worker.generate(json.loads(order)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("where", choices=("cpu", "gpu"))
    parser.add_argument("program")
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    if arguments.where == "cpu":
        cpu(arguments.program, arguments.folders, arguments.passes, arguments.steps)
    else:
        gpu(arguments.program, arguments.folders[0], arguments.passes)


if __name__ == "__main__":
    if sys.argv[1] == "--diffusers":
        serve(*sys.argv[2:])
    else:
        main()
