#!/usr/bin/env python3
"""Draw the person of a photo with diffusers: photo -> name embedding -> prompt_embeds -> image.

    python use-encoder.py ENCODER SDXL PHOTO --prompt "a photo of a person at the beach" --into image.png

ENCODER is the folder that laioncele publishes (encoder.json, encoder.safetensors, name_mean.safetensors), SDXL any SDXL
folder in Diffusers layout. --clip names the two image encoders that the encoder was trained on, CLIP ViT-L/14 first, then
bigG; where they are not given, SDXL/image_encoder and SDXL/image_encoder_2. An encoder of face crops (`crop` in
encoder.json) needs --face, the face's box in pixels: `laioncele faces PHOTO` or any detector says it.
Needs torch, diffusers, transformers, safetensors, Pillow. No code of laioncele.
"""
import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file

ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu, "none": lambda x: x}


def half_up(x):
    """Rounds halves away from zero, as Rust does, and not to even."""
    return int(abs(x) + 0.5) * (1 if x >= 0 else -1)


def face_square(size, box, margin):
    """Left, top, right, bottom of the square around a face, shifted and at last shrunk into the picture."""
    (width, height), (x0, y0, x1, y1) = size, box
    edge = min(max(half_up(max(x1 - x0, y1 - y0) * margin), 1), width, height)
    left = min(max(half_up((x0 + x1) / 2 - edge / 2), 0), width - edge)
    top = min(max(half_up((y0 + y1) / 2 - edge / 2), 0), height - edge)
    return left, top, left + edge, top + edge


def seen_part(photo, config, face):
    """What the image encoders see: the photo, or the square around the face, as in training."""
    crop = config.get("crop", {"part": "whole"})
    if crop["part"] == "whole":
        return photo
    if face is None:
        raise SystemExit("this encoder was trained on faces: give the face's box with --face X0 Y0 X1 Y1")
    return photo.crop(face_square(photo.size, face, crop["margin"]))


def features(image, clip):
    """The projected embeddings of both CLIP image encoders side by side, [1, 2048] for SDXL's pair."""
    import transformers

    # The processor that resizes with Pillow, as the encoder was trained; its name changed with transformers 5.
    processor = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    found = []
    for folder in clip:
        pixels = processor.from_pretrained(folder)(image, return_tensors="pt")
        found.append(transformers.CLIPVisionModelWithProjection.from_pretrained(folder)(**pixels).image_embeds)
    return torch.cat(found, 1)


def predict(encoder, x):
    """Three fully connected layers: features [1, inputs] to a name embedding [1, tokens, channels]."""
    weights, config = load_file(encoder / "encoder.safetensors"), json.loads((encoder / "encoder.json").read_text())
    x = (x - weights["input_mean"]) / weights["input_std"]
    for k in range(3):
        x = F.linear(x, weights[f"layers.{k}.weight"], weights[f"layers.{k}.bias"])
        x = ACTIVATIONS[config["activation"]](x) if k < 2 else x
    return x.view(1, config["output_tokens"], config["output_channels"])


def guided(name, encoder, delta, eta):
    """Equations 4 and 5: away from the mean name by delta, brought to length eta (None: the names' mean length)."""
    mean = load_file(encoder / "name_mean.safetensors")
    name = mean["mean"] + delta * (name - mean["mean"])
    return (mean["length"] if eta is None else eta) * name / name.norm()


def draw(pipe, name, arguments):
    """Name Prepending: after the start token, the text's end cut off; then the pipeline as it is."""
    embeds, negative, pooled, negative_pooled = pipe.encode_prompt(arguments.prompt)
    tokens = name.shape[1]
    embeds = torch.cat([embeds[:, :1], name.to(embeds), embeds[:, 1:-tokens]], 1)
    return pipe(
        prompt_embeds=embeds, pooled_prompt_embeds=pooled, negative_prompt_embeds=negative,
        negative_pooled_prompt_embeds=negative_pooled, guidance_scale=arguments.guidance,
        num_inference_steps=arguments.steps, height=arguments.height, width=arguments.width,
        generator=torch.Generator().manual_seed(arguments.seed), latents=load_file(arguments.latents)["noise"] if arguments.latents else None,
    ).images[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("encoder", type=Path)
    parser.add_argument("sdxl", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--clip", type=Path, nargs=2, metavar=("FIRST", "SECOND"))
    parser.add_argument("--face", type=float, nargs=4, metavar=("X0", "Y0", "X1", "Y1"))
    parser.add_argument("--prompt", default="a portrait of a person")
    parser.add_argument("--delta", type=float, default=5.0)
    parser.add_argument("--eta", type=lambda text: None if text == "mean" else float(text), default=80.0, help="a number, or mean")
    parser.add_argument("--guidance", type=float, default=7.0)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latents", type=Path, help="begin with the tensor `noise` of this file, such as a trace of `laioncele generate`, instead of torch's")
    parser.add_argument("--height", type=int)
    parser.add_argument("--width", type=int)
    parser.add_argument("--name-into", type=Path, help="write the name embedding, before and after Equations 4 and 5")
    parser.add_argument("--into", type=Path, default=Path("image.png"))
    arguments = parser.parse_args()
    config = json.loads((arguments.encoder / "encoder.json").read_text())
    clip = arguments.clip or (arguments.sdxl / "image_encoder", arguments.sdxl / "image_encoder_2")
    with torch.no_grad():
        photo = ImageOps.exif_transpose(Image.open(arguments.photo)).convert("RGB")
        predicted = predict(arguments.encoder, features(seen_part(photo, config, arguments.face), clip))
        name = guided(predicted, arguments.encoder, arguments.delta, arguments.eta)
        if arguments.name_into:
            save_file({"predicted": predicted.contiguous(), "name": name.contiguous()}, arguments.name_into)
        from diffusers import StableDiffusionXLPipeline

        pipe = StableDiffusionXLPipeline.from_pretrained(arguments.sdxl)
        pipe.set_progress_bar_config(disable=True)
        draw(pipe, name, arguments).save(arguments.into)


if __name__ == "__main__":
    main()
