#!/usr/bin/env python3
"""Record what diffusers and transformers compute with the embedded world's SDXL, for the tests of models/sdxl.

    pip install torch diffusers transformers safetensors pillow numpy
    python tools/record-sdxl/record.py            # from the repository's root; run it again after retraining

Reads manifests/mini/sdxl-mini, writes models/sdxl/tests/fixtures/mini/recorded.safetensors, lcm.safetensors (a few-step
run with the noise that its scheduler drew) and recorded.json (the cases, the versions, and the digests of the weights
that were used). Float32 on one CPU thread, seeded.
"""
import hashlib
import json
import sys
from pathlib import Path

import diffusers
import diffusers.schedulers.scheduling_lcm as scheduling_lcm
import numpy as np
import torch
import transformers
from diffusers import StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

PROMPT = "a portrait of a person"
NAME = "Maria Johnson"
STEPS = 20
GUIDANCE = 4.0
TIMESTEP = 501
LCM_STEPS = 4

torch.set_num_threads(1)
torch.set_grad_enabled(False)


def encode(pipe, text):
    embeds, _, pooled, _ = pipe.encode_prompt(text, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
    return embeds, pooled


def draw(pipe, out, embeds, pooled, null, null_pooled, noise):
    states = []

    def keep(_pipe, _step, _timestep, tensors):
        states.append(tensors["latents"].clone())
        return tensors

    image = pipe(
        prompt_embeds=embeds, pooled_prompt_embeds=pooled, negative_prompt_embeds=null, negative_pooled_prompt_embeds=null_pooled,
        latents=noise.clone(), num_inference_steps=STEPS, guidance_scale=GUIDANCE, output_type="pil",
        callback_on_step_end=keep, callback_on_step_end_tensor_inputs=["latents"]).images[0]
    out["run.noise"], out["run.latents"] = noise, states[-1]
    out["run.image"] = torch.from_numpy(np.array(image))
    return image


def draw_lcm(pipe, embeds, pooled, noise, random):
    """A run of the LCM scheduler without guidance, and the noise that it drew after every step but the last."""
    pipe.scheduler = diffusers.LCMScheduler.from_config(pipe.scheduler.config)
    states, drawn = [noise], []

    def draw_noise(shape, **_):
        drawn.append(torch.randn(shape, generator=random))
        return drawn[-1].clone()

    def keep(_pipe, _step, _timestep, tensors):
        states.append(tensors["latents"].clone())
        return tensors

    scheduling_lcm.randn_tensor = draw_noise
    image = pipe(
        prompt_embeds=embeds, pooled_prompt_embeds=pooled, latents=noise.clone(), num_inference_steps=LCM_STEPS, guidance_scale=1.0,
        output_type="pil", callback_on_step_end=keep, callback_on_step_end_tensor_inputs=["latents"]).images[0]
    return {"noise": noise, "step_noise": torch.stack(drawn), "states": torch.stack(states),
            "timesteps": pipe.scheduler.timesteps.to(torch.float64), "image": torch.from_numpy(np.array(image))}


def main(root):
    model, target = root / "manifests/mini/sdxl-mini", root / "models/sdxl/tests/fixtures/mini"
    pipe = StableDiffusionXLPipeline.from_pretrained(model, torch_dtype=torch.float32, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    random = torch.Generator().manual_seed(20240918)
    out = {}

    texts = {"prompt": PROMPT, "name": NAME, "empty": ""}
    encoded = {key: encode(pipe, text) for key, text in texts.items()}
    for key, text in texts.items():
        out[f"text.{key}.embeds"], out[f"text.{key}.pooled"] = encoded[key]
        for i, tokenizer in enumerate((pipe.tokenizer, pipe.tokenizer_2), 1):
            ids = tokenizer(text, padding="max_length", max_length=77, truncation=True).input_ids
            out[f"text.{key}.ids_{i}"] = torch.tensor(ids, dtype=torch.int32)
    prompt, pooled = encoded["prompt"]
    embeds = torch.cat([prompt[:, :1], encoded["name"][0][:, 1:9], prompt[:, 1:69]], 1)
    null, null_pooled = encoded["empty"]

    edge = pipe.unet.config.sample_size
    sample = torch.randn(1, pipe.unet.config.in_channels, edge, edge, generator=random)
    pixels = float(edge * pipe.vae_scale_factor)
    ids = torch.tensor([[pixels, pixels, 0, 0, pixels, pixels]])
    out["unet.sample"], out["unet.context"] = sample, embeds
    out["unet.output"] = pipe.unet(sample, TIMESTEP, encoder_hidden_states=embeds,
                                   added_cond_kwargs={"text_embeds": pooled, "time_ids": ids}).sample

    image = draw(pipe, out, embeds, pooled, null, null_pooled, torch.randn(sample.shape, generator=random))
    latents = out["run.latents"] / pipe.vae.config.scaling_factor
    out["vae.decoded"] = pipe.vae.decode(latents).sample
    out["vae.encoded_mean"] = pipe.vae.encode(out["vae.decoded"].clamp(-1, 1)).latent_dist.mean

    for part in ("image_encoder", "image_encoder_2"):
        tower = CLIPVisionModelWithProjection.from_pretrained(model / part, torch_dtype=torch.float32).eval()
        processor = CLIPImageProcessorPil.from_pretrained(model / part)
        out[f"{part}.image_embeds"] = tower(processor(image, return_tensors="pt").pixel_values).image_embeds

    lcm = draw_lcm(pipe, embeds, pooled, torch.randn(sample.shape, generator=random), random)
    target.mkdir(parents=True, exist_ok=True)
    for name, tensors in {"recorded": out, "lcm": lcm}.items():
        save_file({key: value.contiguous() for key, value in tensors.items()}, target / f"{name}.safetensors")
    weights = {str(path.relative_to(model)): hashlib.sha256(path.read_bytes()).hexdigest()
               for path in sorted(model.glob("*/*.safetensors"))}
    record = {
        "prompt": PROMPT, "name": NAME, "steps": STEPS, "guidance": GUIDANCE, "timestep": TIMESTEP, "lcm_steps": LCM_STEPS, "weights": weights,
        "versions": {"diffusers": diffusers.__version__, "transformers": transformers.__version__,
                     "torch": torch.__version__, "pillow": Image.__version__}}
    (target / "recorded.json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"wrote {sum(path.stat().st_size for path in target.iterdir())} bytes to {target}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[2])
