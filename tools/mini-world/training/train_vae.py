"""Trains the mini VAE from scratch: factor 8, 16 latent channels, trained on 64-pixel crops (it is convolutional). Writes work/vae.

Its posterior has a fixed standard deviation of 0.1 around latents held near unit variance: with a learned one and a KL term, ten of the sixteen
channels collapsed. At the end the latents are whitened per channel by folding scale and shift into quant_conv and post_quant_conv."""
import argparse
import math
import time

import numpy as np
import torch
from diffusers import AutoencoderKL

from common import WORK, load_images, reproducible, tensor
from train_decoder import gradient_loss

NOISE = 0.1


def new_vae():
    return AutoencoderKL(in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, block_out_channels=(16, 24, 48, 64), layers_per_block=1,
                         latent_channels=16, norm_num_groups=8, sample_size=128, mid_block_add_attention=False, scaling_factor=1.0, force_upcast=False)


def batch(sources, count, crop=64):
    some = []
    for _ in range(count):
        source = sources[np.random.randint(len(sources))]
        some.append(source[np.random.randint(source.shape[0]), np.random.randint(source.shape[1])])
    oy, ox = np.random.randint(0, 129 - crop, 2)
    return tensor(np.stack(some)[:, oy : oy + crop, ox : ox + crop])


@torch.no_grad()
def whiten(vae, sources):
    z = torch.cat([vae.encode(batch(sources, 16, 128)).latent_dist.mean for _ in range(32)])
    m, s = z.mean((0, 2, 3)), z.std((0, 2, 3))
    q, p, c = vae.quant_conv, vae.post_quant_conv, len(m)
    print("channel means", m.numpy().round(2), "deviations", s.numpy().round(2), flush=True)
    q.weight[:c] /= s[:, None, None, None]
    q.bias[:c] = (q.bias[:c] - m) / s
    q.weight[c:] = 0
    q.bias[c:] = 2 * (math.log(NOISE) - s.log())
    p.bias += p.weight[:, :, 0, 0] @ m
    p.weight *= s[None, :, None, None]


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--steps", type=int, default=6000), p.add_argument("--lr", type=float, default=3e-3), p.add_argument("--batch", type=int, default=16), p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    reproducible(0, a.threads)
    vae, sources = new_vae().train(), [load_images(g, "portraits") for g in ("known", "others")]
    opt = torch.optim.AdamW(vae.parameters(), a.lr, betas=(0.9, 0.99))
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, a.lr, a.steps, pct_start=0.1)
    start, log = time.time(), []
    for it in range(a.steps):
        x = batch(sources, a.batch)
        z = vae.encode(x).latent_dist.mean
        y = vae.decode(z + NOISE * torch.randn_like(z)).sample
        held = (z.mean((0, 2, 3)) ** 2 + (z.var((0, 2, 3)) - 1).clamp(min=0)).mean()
        loss = (x - y).abs().mean() + gradient_loss(x, y) + 0.003 * held
        opt.zero_grad(), loss.backward(), torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0), opt.step(), sched.step()
        log.append((x - y).abs().mean().item())
        if it % 100 == 99:
            print(it + 1, f"mean absolute error {np.mean(log[-100:]):.4f} {time.time() - start:.0f} s", flush=True)
    whiten(vae, sources)
    vae.save_pretrained(WORK / "vae")
