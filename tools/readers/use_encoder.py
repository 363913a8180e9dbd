#!/usr/bin/env python3
"""Compares what `laioncele generate` and use-encoder.py of the exported folder draw: called by use-encoder.sh.

Both begin with the noise that laioncele makes of the seed (torch's is another), and see the photo's pixels as Pillow decodes them, in
a PNG: decoders of JPEG differ by a level here and there, and what that does to the name is printed beside it.
"""
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "comfyui"))

NAME_TOLERANCE, JPEG_TOLERANCE = 1e-4, 1e-2  # of the name's length
MEAN_TOLERANCE, MOST_TOLERANCE = 0.5, 8  # of 255
SEED = 3
PROMPT = "a portrait of a person"


def manifest_of(output):
    """The run's manifest and the folder where its relative paths start."""
    recorded = json.loads((output / "run.json").read_text())
    text = next(output.glob(f"manifests/{recorded['manifest']}*.toml")).read_text()
    return tomllib.loads(text), Path(recorded["path"]).parent


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def face(program, output, work, photo):
    """The option for the main face's box, where the encoder sees faces."""
    config = json.loads((work / "encoder/encoder.json").read_text())
    if config["crop"]["part"] == "whole":
        return []
    found = subprocess.run([program, "faces", photo, "--output", output], check=True, stdout=subprocess.PIPE)
    return ["--face", *json.loads(found.stdout)["faces"][0]["box"]]


def main():
    program, output, work = map(Path, sys.argv[1:])
    manifest, base = manifest_of(output)
    samples = manifest.get("generate_samples", {})
    sdxl = base / manifest["models"]["sdxl"]["folder"]
    clip = [base / manifest["models"]["image_encoders"][key] for key in ("first", "second")]
    photos = [path for path in sorted((base / samples["references"]).rglob("*")) if path.is_file()][:2]
    options = ["--guidance", samples.get("guidance", 7.0), "--steps", samples.get("steps", 100)]
    size = [part for key in ("height", "width") if key in samples for part in (f"--{key}", samples[key])]
    noise = work / "noise.safetensors"
    run(program, "generate", "--model", sdxl, "--seed", SEED, "--steps", 1, *size, "--trace", noise, "--into", work / "noise")
    prompt, failed = ["--prompt", PROMPT], False
    for photo in photos:
        png, theirs, name = work / f"{photo.stem}.png", work / "theirs.png", work / "name.safetensors"
        ImageOps.exif_transpose(Image.open(photo)).convert("RGB").save(png)
        run(program, "generate", png, *prompt, "--seed", SEED, *options, "--into", work / "ours", "--output", output)
        ours = Image.open(work / f"ours/prompt-00-seed-{SEED}.png")
        run(
            sys.executable, work / "encoder/use-encoder.py", work / "encoder", sdxl, png, "--clip", *clip, *prompt,
            "--delta", samples.get("delta", 5.0), "--eta", samples.get("eta", 80.0), "--latents", noise, *options, *size,
            *face(program, output, work, png), "--name-into", name, "--into", theirs,
        )
        distances = []
        for seen in (png, photo):
            run(program, "encoder", "conditioning", seen, *prompt, "--into", work / "ours.safetensors", "--output", output)
            mine, other = load_file(work / "ours.safetensors")["name"], load_file(name)["name"]
            distances.append(float(np.linalg.norm(mine - other) / np.linalg.norm(other)))
        difference = np.abs(np.asarray(ours.convert("RGB"), float) - np.asarray(Image.open(theirs).convert("RGB"), float))
        good = distances[0] <= NAME_TOLERANCE and distances[1] <= JPEG_TOLERANCE
        good &= bool(difference.mean() <= MEAN_TOLERANCE and difference.max() <= MOST_TOLERANCE)
        failed |= not good
        print(
            f"{'ok  ' if good else 'FAIL'} {photo.name}: names {distances[0]:.1e} apart ({distances[1]:.1e} from its own JPEG), "
            f"pixels {difference.mean():.3f} on average, {difference.max():.0f} at most"
        )
    from laioncele_conditioning import conditionings

    for (tensor, rest), in conditionings(work / "ours.safetensors"):
        assert tensor.ndim == 3 and rest["pooled_output"].ndim == 2, (tensor.shape, rest["pooled_output"].shape)
    print("ok   ComfyUI's form of both conditionings")
    sys.exit(failed)


if __name__ == "__main__":
    main()
