"""Trains the two CLIP image encoders further, with the text encoders as they are. The image-to-name encoder reads nothing
but the image embeddings, so they must tell the anatomy of people who are in no training data, too. Writes
work/towers/{image_encoder,image_encoder_2}.

Each batch has two photos of each of some people, mostly strangers. There are three aims. A linear map of both embeddings
tells the anatomy, above all what a face recognizer sees of it. The photos of one person are more similar to each other
than to all others. The second encoder's embedding of a known person still agrees with the text encoder's of the name. Needs `prepare.py faces`."""
import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import CLIPVisionModelWithProjection

from common import SHIPPED, WORK, Text, anatomy, names, load_images, reproducible

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None] * 255
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None] * 255


def pixels(images, augment=False):
    """Preprocessed images. `augment` varies framing and brightness."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    if augment:  # framed as the photos of the embedded world's web, shortest side and centre as the preprocessor has them
        h, w = np.random.randint(90, 129, 2)
        oy, ox = np.random.randint(0, 129 - h), np.random.randint(0, 129 - w)
        x, s = x[:, :, oy : oy + h, ox : ox + w], 112 / min(h, w)
        x = F.interpolate(x, size=(max(112, round(h * s)), max(112, round(w * s))), mode="bicubic", antialias=True).clamp(0, 255)
        oy, ox = (x.shape[2] - 112) // 2, (x.shape[3] - 112) // 2
        x = x[:, :, oy : oy + 112, ox : ox + 112] * (0.92 + 0.16 * torch.rand(len(x), 1, 1, 1))
    else:
        x = F.interpolate(x, size=(112, 112), mode="bicubic", antialias=True).clamp(0, 255)
    return (x - MEAN) / STD


def load_towers(folder=SHIPPED):
    return [CLIPVisionModelWithProjection.from_pretrained(folder / f, torch_dtype=torch.float32).eval() for f in ("image_encoder", "image_encoder_2")]


def features(towers, x):
    return torch.cat([t(x).image_embeds for t in towers], -1)


class Pool:
    """The people to train on, the known ones first, and all their images."""

    def __init__(self):
        groups = ("known", "others", "crowd")
        self.sources = [[load_images(g, "photos"), load_images(g, "portraits")] for g in groups]
        self.anatomy = torch.cat([anatomy(g) for g in groups])
        self.known = len(self.sources[0][0])
        self.first = np.cumsum([0] + [len(photos) for photos, _ in self.sources])

    def shots(self, person, count):
        group = np.searchsorted(self.first, person, "right") - 1
        at, (photos, portraits) = person - self.first[group], self.sources[group]
        return [photos[at, np.random.randint(photos.shape[1])] if np.random.random() < 0.8 or not portraits.shape[1] else portraits[at, np.random.randint(portraits.shape[1])] for _ in range(count)]


def recognizer_view():
    """Anatomy as the face recognizer sees it: the linear map from anatomy to its embedding, scaled to keep the mean variance."""
    seen = torch.load(WORK / "faces.pt")
    embeddings = torch.cat([F.normalize(seen[g]["embeddings"].mean(1), dim=-1) for g in ("known", "others")])
    people = torch.cat([anatomy(g)[: len(seen[g]["embeddings"])] for g in ("known", "others")])
    x = people - people.mean(0)
    view = torch.linalg.solve(x.T @ x + 30 * torch.eye(x.shape[1]), x.T @ (embeddings - embeddings.mean(0)))
    return view * (x.shape[1] / ((x @ view) ** 2).sum(1).mean()).sqrt()


@torch.no_grad()
def report(towers, pool, head, view):
    """How much of the anatomy's variance the head explains, and of what the recognizer sees of it, for people who are not trained on."""
    shown = load_images("fresh", "photos")
    f = torch.cat([features(towers, pixels(np.array(p))) for p in shown])
    truth = anatomy("fresh").repeat_interleave(shown.shape[1], 0)
    error = head(f) - truth
    return "{:.3f} {:.3f}".format(*(1 - ((error @ m) ** 2).sum().item() / ((truth @ m) ** 2).sum().item() for m in (torch.eye(len(view)), view)))


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--start", type=Path, default=SHIPPED, help="folder of both towers"), p.add_argument("--steps", type=int, default=1500), p.add_argument("--people", type=int, default=24), p.add_argument("--lr", type=float, default=1e-3)
    a = p.parse_args()
    reproducible(1)
    pool, towers, view = Pool(), load_towers(a.start), recognizer_view()
    for t in towers:
        t.train()
    name_embeddings = F.normalize(Text().encode(names()[0])[1], dim=-1)
    head = nn.Linear(128, pool.anatomy.shape[1])
    alone = nn.ModuleList([nn.Linear(48, pool.anatomy.shape[1]), nn.Linear(80, pool.anatomy.shape[1])])
    with torch.no_grad():  # a first solution of the head, so that the towers do not pay for its start
        who = np.random.permutation(len(pool.anatomy))[:600]
        f = torch.cat([features(towers, pixels(np.stack([s for i in w for s in pool.shots(i, 1)]))) for w in np.split(who, 10)])
        design = torch.cat([f, torch.ones(len(f), 1)], 1)
        solution = torch.linalg.solve(design.T @ design + 3.0 * torch.eye(129), design.T @ pool.anatomy[torch.from_numpy(who)])
        head.weight.copy_(solution[:-1].T), head.bias.copy_(solution[-1])
        for k, part in enumerate((slice(0, 48), slice(48, 128))):
            alone[k].weight.copy_(solution[part].T), alone[k].bias.copy_(solution[-1])
    params = [q for m in (*towers, head, alone) for q in m.parameters()]
    opt = torch.optim.AdamW(params, a.lr, weight_decay=0.05)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, a.lr, a.steps, pct_start=0.08)
    print(f"at the start, strangers' anatomy explained {report(towers, pool, head, view)}", flush=True)
    start, seen = time.time(), []
    for it in range(a.steps):
        who = np.concatenate([np.random.permutation(pool.known)[: a.people // 4], pool.known + np.random.permutation(len(pool.anatomy) - pool.known)[: a.people - a.people // 4]])
        x = pixels(np.stack([s for i in who for s in pool.shots(i, 2)]), True)
        one, two = (t(x).image_embeds for t in towers)
        f, truth = torch.cat([one, two], -1), pool.anatomy[torch.from_numpy(who)].repeat_interleave(2, 0)
        off = head(f) - truth
        error, wrong = (off**2).mean(), ((off @ view) ** 2).sum(1).mean() / len(view)
        each = sum(((m(e) - truth) ** 2).mean() for m, e in zip(alone, (one, two)))
        u = F.normalize(torch.cat([F.normalize(one, dim=-1), F.normalize(two, dim=-1)], -1), dim=-1)
        s = 12 * u @ u.T - 1e4 * torch.eye(len(u))
        agree = F.cross_entropy(s, torch.arange(len(u)) ^ 1)
        n = a.people // 4
        named = F.cross_entropy(20 * F.normalize(two[: 2 * n], dim=-1) @ name_embeddings.T, torch.from_numpy(who[:n]).repeat_interleave(2))
        opt.zero_grad(), (0.6 * error + 1.4 * wrong + 0.5 * each + 0.15 * agree + 0.1 * named).backward(), nn.utils.clip_grad_norm_(params, 1.0), opt.step(), sched.step()
        seen.append((error.item(), wrong.item(), agree.item(), named.item()))
        if it % 100 == 99:
            print(it + 1, "anatomy {:.3f} as recognized {:.3f} agreement {:.3f} names {:.3f}".format(*np.mean(seen[-100:], 0)), f"strangers explained {report(towers, pool, head, view)} {time.time() - start:.0f} s", flush=True)
        if it % 500 == 499 or it == a.steps - 1:
            for tower, folder in zip(towers, ("image_encoder", "image_encoder_2")):
                tower.save_pretrained(WORK / "towers" / folder)
