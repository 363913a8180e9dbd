"""Sharpens the VAE's decoder for faces. The latents stay the same, so the U-Net can be trained at the same time.
Writes work/vae.

Half of each batch are latents of portraits, with noise. Their loss is the absolute error, the error of gradients, and
the face recognizer's distance from the original. The other half are latents that the U-Net generated for known names.
There is no original for them, but the detector must find one face and the recognizer must recognize the person. Needs `prepare.py faces`, `latents` and `generated`."""
import argparse
import time

import numpy as np
import torch
import torch.nn.functional as F

from common import SHIPPED, WORK, load_vae, load_images, reproducible, tensor
from faces import Critic


def gradient_loss(x, y):
    return (x.diff(dim=3) - y.diff(dim=3)).abs().mean() + (x.diff(dim=2) - y.diff(dim=2)).abs().mean()


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--start", default=SHIPPED / "vae"), p.add_argument("--steps", type=int, default=800), p.add_argument("--lr", type=float, default=6e-4), p.add_argument("--half", type=int, default=2)
    a = p.parse_args()
    reproducible(5)
    seen = torch.load(WORK / "faces.pt")
    latents, generated = torch.load(WORK / "latents.pt"), torch.load(WORK / "generated.pt")
    person = F.normalize(seen["known"]["embeddings"].mean(1), dim=-1)
    usual = seen["known"]["landmarks"].mean(1)
    vae, critic = load_vae(a.start).train(), Critic()
    shown = {g: load_images(g, "portraits") for g in seen}
    params = [q for n, q in vae.named_parameters() if n.startswith(("decoder", "post_quant"))]
    opt = torch.optim.Adam(params, a.lr, betas=(0.9, 0.98))
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, a.lr, a.steps, pct_start=0.06, anneal_strategy="linear")
    average = {n: q.detach().clone() for n, q in vae.named_parameters() if n.startswith(("decoder", "post_quant"))}
    start, log = time.time(), []
    for it in range(a.steps):
        z, x, marks, goal = [], [], [], []
        for _ in range(a.half):
            g = "known" if np.random.random() < 0.5 else "others"
            i, j = np.random.randint(seen[g]["found"].shape[0]), np.random.randint(seen[g]["found"].shape[1])
            z.append(latents[g][i, j]), x.append(np.array(shown[g][i, j])), marks.append(seen[g]["landmarks"][i, j].numpy()), goal.append(seen[g]["embeddings"][i, j])
        z, x = torch.stack(z), tensor(np.stack(x))
        who = np.random.randint(len(generated), size=a.half)
        d = generated[who, np.random.randint(generated.shape[1], size=a.half)]
        z = z + torch.rand(a.half, 1, 1, 1) * 0.2 * torch.randn_like(z)
        y = vae.decode(torch.cat([z, d])).sample
        view = critic.view(y)
        conf, found = critic.scores(view[a.half :])
        best = conf.max(1).values
        away = [k if b > 0.05 else usual[w].numpy() for k, b, w in zip(found, best, who)]
        e = critic.embed(view, marks + away)
        same = (e * torch.cat([torch.stack(goal), person[who]])).sum(1)
        missed = -(best.clamp(min=1e-6).log()).clamp(max=6)
        pixel = (x - y[: a.half]).abs().mean()
        loss = pixel + gradient_loss(x, y[: a.half]) + 0.15 * (1 - same[: a.half]).mean() + 0.1 * (1 - same[a.half :]).mean() + 0.03 * missed.mean()
        opt.zero_grad(), loss.backward(), torch.nn.utils.clip_grad_norm_(params, 1.0), opt.step(), sched.step()
        log.append((pixel.item(), same[: a.half].mean().item(), same[a.half :].mean().item(), (best < 0.6).float().mean().item()))
        with torch.no_grad():
            for n, q in vae.named_parameters():
                if n in average:
                    average[n].lerp_(q, 1 - min(0.98, (1 + it) / (10 + it)))
        if it % 25 == 24:
            print(it + 1, "error {:.4f} same face {:.3f} generated face {:.3f} no face {:.3f}".format(*np.mean(log[-25:], 0)), f"{time.time() - start:.0f} s", flush=True)
        if it % 100 == 99 or it == a.steps - 1:
            kept = {n: q.detach().clone() for n, q in vae.named_parameters() if n in average}
            with torch.no_grad():
                for n, q in vae.named_parameters():
                    if n in average:
                        q.copy_(average[n])
                vae.save_pretrained(WORK / "vae")
                for n, q in vae.named_parameters():
                    if n in average:
                        q.copy_(kept[n])
