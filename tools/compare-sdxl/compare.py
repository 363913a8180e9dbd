#!/usr/bin/env python3
"""Compare a trace of `laioncele generate --model … --trace FILE` with diffusers on the same folder.

    pip install torch diffusers transformers safetensors numpy
    python tools/compare-sdxl/compare.py MODEL_FOLDER TRACE [--scheduler ddim] [--guidance 7]

The trace of one image, float32 on the CPU on both sides. Token ids go into the text encoders, the trace's embeddings,
noise and sizes into the U-Net, so that each part is compared by itself; the parts are loaded one after the other, which
for SDXL's real size takes 11 GB of memory. Prints each tensor's largest and mean difference beside its largest value.
"""
import argparse
import gc
from pathlib import Path

import torch
from diffusers import (AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler,
                       UNet2DConditionModel)
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

SCHEDULERS = {"ddim": DDIMScheduler, "euler": EulerDiscreteScheduler, "dpmpp_2m": DPMSolverMultistepScheduler}


def load(kind, folder):
    half = any(folder.glob("*.fp16.safetensors"))
    return kind.from_pretrained(folder, torch_dtype=torch.float32, variant="fp16" if half else None).eval()


def texts(folder, trace):
    """The embeddings of each kind of text in the trace, by the name of their tensors."""
    hidden, pooled = {}, {}
    for number, kind in enumerate((CLIPTextModel, CLIPTextModelWithProjection), 1):
        encoder = load(kind, folder / ("text_encoder" if number == 1 else "text_encoder_2"))
        for text in ("", "null_", "name_"):
            if f"{text}ids_{number}" in trace:
                output = encoder(trace[f"{text}ids_{number}"].long(), output_hidden_states=True)
                hidden.setdefault(text, []).append(output.hidden_states[-2])
                pooled[text] = output[0]
    joined = {text: torch.cat(parts, -1) for text, parts in hidden.items()}
    found = {"prompt_embeds": joined[""], "prompt_pooled": pooled[""], "embeds": joined[""], "pooled": pooled[""]}
    if "name_" in joined:
        found["names"] = joined["name_"][:, 1:9]
        found["np"] = found["embeds"] = torch.cat(
            [joined[""][:, :1], found["names"], joined[""][:, 1:69]], 1)
    if "null_" in joined:
        found |= {"null_embeds": joined["null_"], "null_pooled": pooled["null_"]}
    return found


def trajectory(folder, trace, scheduler, guidance):
    """The U-Net's first output, the guided predictions, and the latents after every step."""
    unet, guided = load(UNet2DConditionModel, folder / "unet"), guidance > 1
    scheduler = SCHEDULERS[scheduler].from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(trace["timesteps"].numel())
    join = lambda part: torch.cat([trace[f"null_{part}"], trace[part]]) if guided else trace[part]  # noqa: E731
    context, pooled = join("embeds"), join("pooled")
    condition = {"text_embeds": pooled, "time_ids": trace["time_ids"].repeat(len(pooled), 1)}
    latents = trace["noise"] * scheduler.init_noise_sigma
    states, predictions, first = [latents], [], None
    for timestep in scheduler.timesteps:
        sample = scheduler.scale_model_input(latents, timestep).repeat(len(context), 1, 1, 1)
        output = unet(sample, timestep, encoder_hidden_states=context, added_cond_kwargs=condition).sample
        first = output if first is None else first
        if guided:
            null, text = output.chunk(2)
            output = null + guidance * (text - null)
        latents = scheduler.step(output, timestep, latents).prev_sample
        predictions.append(output)
        states.append(latents)
    return {"timesteps": scheduler.timesteps, "first_output": first, "predictions": torch.stack(predictions),
            "states": torch.stack(states)}


def decode(folder, trace):
    vae = load(AutoencoderKL, folder / "vae")
    return {"decoded": vae.decode(trace["states"][-1] / vae.config.scaling_factor).sample}


def report(trace, theirs):
    for name, tensor in theirs.items():
        if name in trace:
            apart = (trace[name].double() - tensor.double()).abs()
            print(f"{name:14} {str(tuple(tensor.shape)):22} largest difference {apart.max():.2e}, mean {apart.mean():.2e},"
                  f" largest value {tensor.abs().max():.3g}", flush=True)
    gc.collect()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--scheduler", choices=SCHEDULERS, default="ddim")
    parser.add_argument("--guidance", type=float, default=7.0)
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    trace = load_file(arguments.trace)
    report(trace, texts(arguments.model, trace))
    report(trace, trajectory(arguments.model, trace, arguments.scheduler, arguments.guidance))
    report(trace, decode(arguments.model, trace))


if __name__ == "__main__":
    main()
