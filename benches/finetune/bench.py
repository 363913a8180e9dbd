"""Training steps of diffusers, peft and torch against models/finetune, in turn, on the processor.

    bench.py WORKER MODEL... [--steps N] [--batch N] [--passes N]

Each side takes the same number of steps of the same sizes on fixed random rows, LoRA of rank 4 and the whole U-Net, on all
cores; the best pass of each counts. Only the step itself is measured: forward, backward, clipping, AdamW.
"""
import argparse
import json
import os
import subprocess
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from peft import LoraConfig

WARM = 2


def torch_steps(folder, what, steps, batch, edge, threads):
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    scheduler = DDPMScheduler.from_config(json.loads((folder / "scheduler" / "scheduler_config.json").read_text()))
    if what == "lora":
        unet.requires_grad_(False)
        unet.add_adapter(LoraConfig(r=4, lora_alpha=4, init_lora_weights="gaussian", target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
    parameters = [p for p in unet.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5)
    c = unet.config
    pooled_width = c.projection_class_embeddings_input_dim - 6 * c.addition_time_embed_dim
    latents, noise = torch.randn(batch, c.in_channels, edge, edge), torch.randn(batch, c.in_channels, edge, edge)
    context, pooled = torch.randn(batch, 77, c.cross_attention_dim), torch.randn(batch, pooled_width)
    times = torch.arange(batch) * 37 + 11
    ids = torch.tensor([[edge * 8, edge * 8, 0, 0, edge * 8, edge * 8]] * batch, dtype=torch.float32)
    for step in range(WARM + steps):
        if step == WARM:
            start = time.perf_counter()
        noisy = scheduler.add_noise(latents, noise, times)
        output = unet(noisy, times, context, added_cond_kwargs={"text_embeds": pooled, "time_ids": ids}).sample
        F.mse_loss(output, noise).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return (time.perf_counter() - start) / steps


def our_steps(worker, folder, what, steps, batch, edge, threads):
    arguments = [worker, str(folder), what, *map(str, (steps, batch, edge, threads))]
    return json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)["seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("worker")
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    a = parser.parse_args()
    print(f"batch {a.batch}, {a.steps} steps, best of {a.passes} passes, {a.threads} threads")
    print("| model | what | latents | torch s/step | ours s/step | ratio |\n|---|---|---|---|---|---|")
    for folder in a.models:
        edge = json.loads((folder / "unet" / "config.json").read_text())["sample_size"]
        for what in ("lora", "unet"):
            sizes = (what, a.steps, a.batch, edge, a.threads)
            theirs, ours = [], []
            for _ in range(a.passes):
                theirs.append(torch_steps(folder, *sizes))
                ours.append(our_steps(a.worker, folder, *sizes))
            t, o = min(theirs), min(ours)
            print(f"| {folder.parent.name}/{folder.name} | {what} | {edge} × {edge} | {t:.4f} | {o:.4f} | **{t / o:.2f}** |", flush=True)


if __name__ == "__main__":
    main()
