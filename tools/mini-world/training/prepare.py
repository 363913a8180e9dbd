"""Computes once what the later trainings read often: `prepare.py faces` (work/faces.pt: what the face networks find in
portraits), `prepare.py latents` (work/latents.pt: portraits through the VAE's encoder), `prepare.py generated`
(work/generated.pt: latents that the U-Net generates for the known names)."""
import argparse
import time

import numpy as np
import torch

from common import WORK, PortraitGenerator, load_unet, load_vae, names, load_images, reproducible, tensor
from faces import Judge


def faces(known, others):
    """Landmarks and embeddings of the first portraits of known people and strangers."""
    judge, out = Judge(), {}
    for group, people, count in (("known", None, known), ("others", others, 1)):
        marks, embeddings, found = [], [], []
        for person in load_images(group, "portraits")[:people]:
            for image in person[:count]:
                n, _, landmarks, bgr = judge.detect(np.array(image))
                marks.append(landmarks), embeddings.append(judge.embed_at(bgr, landmarks)), found.append(n == 1)
        shape = (-1, count)
        out[group] = dict(landmarks=torch.tensor(np.array(marks)).float().reshape(*shape, 5, 2), embeddings=torch.tensor(np.array(embeddings)).reshape(*shape, 512), found=torch.tensor(found).reshape(shape))
        print(group, "portraits with exactly one face", out[group]["found"].float().mean().item(), flush=True)
    torch.save(out, WORK / "faces.pt")


@torch.no_grad()
def latents(known, others):
    vae, out = load_vae(), {}
    for group, people, count in (("known", None, known), ("others", others, 1)):
        some = load_images(group, "portraits")[:people, :count]
        flat = some.reshape(-1, 128, 128, 3)
        z = torch.cat([vae.encode(tensor(flat[i : i + 32])).latent_dist.mean for i in range(0, len(flat), 32)])
        out[group] = z.reshape(len(some), count, 16, 16, 16)
        torch.save(out, WORK / "latents.pt")


def generated(count, steps, unet):
    generator, start = PortraitGenerator(unet=load_unet(unet) if unet else None, steps=steps), time.time()
    known, out = generator.text.encode(names()[0])[0][:, 1:9], []
    random = torch.Generator().manual_seed(77)
    for i in range(0, len(known), 8):
        z = torch.stack([generator.latents(known[i : i + 8], torch.randn(8, 16, 16, 16, generator=random)) for _ in range(count)], 1)
        out.append(z)
    print(f"generated {len(known) * count} in {time.time() - start:.0f} s")
    torch.save(torch.cat(out), WORK / "generated.pt")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["faces", "latents", "generated"])
    p.add_argument("--known", type=int, default=4, help="portraits of each known person"), p.add_argument("--others", type=int, default=500, help="strangers"), p.add_argument("--steps", type=int, default=12), p.add_argument("--unet")
    a = p.parse_args()
    reproducible(3)
    {"faces": lambda: faces(a.known, a.others), "latents": lambda: latents(a.known, a.others), "generated": lambda: generated(a.known, a.steps, a.unet)}[a.what]()
