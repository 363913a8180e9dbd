#!/usr/bin/env python3
"""Compares what `laioncele generate` and use-encoder.py of the exported folder draw: called by use-encoder.sh."""
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "comfyui"))

NAME_TOLERANCE = 1e-3  # of the name's length
MEAN_TOLERANCE, MOST_TOLERANCE = 2.0, 40  # of 255
PROMPT = "a portrait of a person"


def manifest_of(output):
    """The run's manifest and the folder where its relative paths start."""
    recorded = json.loads((output / "run.json").read_text())
    text = next(output.glob(f"manifests/{recorded['manifest']}*.toml")).read_text()
    return tomllib.loads(text), Path(recorded["path"]).parent


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def main():
    program, output, work, face = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]
    manifest, base = manifest_of(output)
    samples = manifest.get("generate_samples", {})
    sdxl = base / manifest["models"]["sdxl"]["folder"]
    clip = [base / manifest["models"]["image_encoders"][key] for key in ("first", "second")]
    photos = [path for path in sorted((base / samples["references"]).rglob("*")) if path.is_file()][:2]
    options = ["--guidance", samples.get("guidance", 7.0), "--steps", samples.get("steps", 100)]
    size = [part for key in ("height", "width") if key in samples for part in (f"--{key}", samples[key])]
    failed = False
    for photo in photos:
        ours, theirs, name = work / "ours", work / "theirs.png", work / "name.safetensors"
        conditioning = work / "conditioning.safetensors"
        run(program, "generate", photo, "--prompt", PROMPT, "--seed", 3, *options, "--into", ours, "--output", output)
        run(program, "encoder", "conditioning", photo, "--prompt", PROMPT, "--into", conditioning, "--output", output)
        run(
            sys.executable, work / "encoder/use-encoder.py", work / "encoder", sdxl, photo, "--clip", *clip, "--prompt", PROMPT,
            "--delta", samples.get("delta", 5.0), "--eta", samples.get("eta", 80.0), "--seed", 3, *options, *size,
            *(["--face", *face] if face else []), "--name-into", name, "--into", theirs,
        )
        mine, other = load_file(conditioning)["name"], load_file(name)["name"]
        distance = float(np.linalg.norm(mine - other) / np.linalg.norm(other))
        pixels = [np.asarray(Image.open(file).convert("RGB"), float) for file in (ours / "prompt-00-seed-3.png", theirs)]
        difference = np.abs(pixels[0] - pixels[1])
        good = distance <= NAME_TOLERANCE and difference.mean() <= MEAN_TOLERANCE and difference.max() <= MOST_TOLERANCE
        failed |= not good
        print(f"{'ok  ' if good else 'FAIL'} {photo.name}: names {distance:.1e} apart, pixels {difference.mean():.3f} on average, {difference.max():.0f} at most")
    from laioncele_conditioning import conditionings

    for (tensor, rest), in conditionings(conditioning):
        assert tensor.ndim == 3 and rest["pooled_output"].ndim == 2, (tensor.shape, rest["pooled_output"].shape)
    print("ok   ComfyUI's form of both conditionings")
    sys.exit(failed)


if __name__ == "__main__":
    main()
