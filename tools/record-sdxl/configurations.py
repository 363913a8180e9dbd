#!/usr/bin/env python3
"""Record what diffusers generates with other configurations than SDXL's own, for the test of tools/random-sdxl.

    pip install torch diffusers transformers safetensors pillow numpy
    cargo build --release --workspace --bin random-sdxl
    python tools/record-sdxl/configurations.py target/release/random-sdxl

Reads tools/random-sdxl/tests/fixtures/configurations.json: what each configuration changes in the tiny SDXL of models/clip.
random-sdxl writes the weights, so that none need to be kept. Writes configurations.safetensors beside it. Float32, seeded.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionXLPipeline
from safetensors.torch import save_file

from record import encode

PROMPT, NAME = "a portrait of a person", "Maria Johnson"
STEPS, GUIDANCE, HEIGHT, WIDTH = 3, 5.0, 96, 64
# Only every so many pixels of an image are kept.
STRIDE = 7


def write_model(program, tiny, changes, folder):
    like = folder / "like"
    for path in [*tiny.glob("*.json"), *tiny.glob("*/*.json"), *tiny.glob("*/merges.txt")]:
        copy = like / path.relative_to(tiny)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    for part, keys in changes.items():
        path = like / part / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | keys))
    subprocess.run([program, "--like", like, "--dtype", "f32", folder / "model"], check=True, stderr=subprocess.DEVNULL)
    return folder / "model"


def record(model):
    pipe = StableDiffusionXLPipeline.from_pretrained(model, torch_dtype=torch.float32, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    (prompt, pooled), (name, _), (null, null_pooled) = (encode(pipe, text) for text in (PROMPT, NAME, ""))
    embeds = torch.cat([prompt[:, :1], name[:, 1:9], prompt[:, 1:69]], 1)
    states = []

    def keep(_pipe, _step, _timestep, tensors):
        states.append(tensors["latents"].clone())
        return tensors

    pixels = pipe(
        prompt_embeds=embeds, pooled_prompt_embeds=pooled, negative_prompt_embeds=null, negative_pooled_prompt_embeds=null_pooled,
        generator=torch.Generator("cpu").manual_seed(0), num_inference_steps=STEPS, guidance_scale=GUIDANCE,
        height=HEIGHT, width=WIDTH, output_type="pt", callback_on_step_end=keep,
        callback_on_step_end_tensor_inputs=["latents"]).images
    return {"np": embeds[0, :12], "states": torch.stack(states), "pixels": pixels.flatten()[::STRIDE]}


def main(program, root):
    fixtures, tiny = root / "tools/random-sdxl/tests/fixtures", root / "models/clip/tests/fixtures/tiny-a/model"
    tensors = {}
    for name, changes in json.loads((fixtures / "configurations.json").read_text()).items():
        with tempfile.TemporaryDirectory() as folder:
            recorded = record(write_model(program, tiny, changes, Path(folder)))
        tensors |= {f"{name}.{key}": value.contiguous() for key, value in recorded.items()}
        print(name, {key: f"{value.abs().max():.3g}" for key, value in recorded.items()})
    save_file(tensors, fixtures / "configurations.safetensors")


if __name__ == "__main__":
    main(sys.argv[1], Path(__file__).resolve().parents[2])
