"""Evaluates with the real face networks: `evaluate.py names` (portraits of known and unknown names, photos of right and
wrong people), `evaluate.py encoder` (people who are in no training data), `evaluate.py renders` (the face networks on
the renderings themselves).

Name k's portraits have the noise of seeds 10 k ... 10 k + 3, plus --first-seed. Photos are renderings like those
of the web. Of the unknown names only those are judged that no training used."""
import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from PIL import Image

from common import SHIPPED, WORK, PortraitGenerator, load_unet, load_vae, names, load_images, reproducible
from faces import Judge, auc
from train_towers import features, load_towers, pixels

THRESHOLDS = np.arange(0.35, 0.75, 0.05)


def judge_names(generator, judge, a):
    known, _, never = names()
    photos, rows, lowest, right, wrong = load_images("known", "photos"), [], {}, [], []
    order = np.random.default_rng(a.first_seed + 1).permutation(len(known))[: a.count]
    for tag, some in (("known", [(int(k), known[k]) for k in order]), ("unknown", list(enumerate(never[: a.count])))):
        lows, missed = [], 0
        for at, (k, name) in enumerate(some):
            images = generator.portraits(generator.text.name(name), [a.first_seed + 10 * k + j for j in range(4)])
            if at < 8:
                rows.append(np.concatenate([*images, *(photos[k, :4] if tag == "known" else np.zeros_like(images))], 1))
            e = [judge.embed(i) for i in images]
            if any(v is None for v in e):
                missed += 1
                lows.append(0.0)
                continue
            e = np.stack(e)
            lows.append((e @ e.T)[np.triu_indices(4, 1)].min())
            if tag == "known":
                shown = [photos[k, j] for j in range(4)], [photos[(k + 7 + j) % len(photos), j] for j in range(4)]
                for found, some_photos in zip((right, wrong), shown):
                    found += [float((e @ v).mean()) for v in (judge.embed(np.array(p)) for p in some_photos) if v is not None]
        lowest[tag] = np.array(lows)
        print(f"{tag} names, {len(lows)}: a portrait without one face in {missed}; lowest of six pairs p10/50/90 {np.percentile(lows, [10, 50, 90]).round(3)}", flush=True)
    print(f"AUC known/unknown {auc(lowest['known'], lowest['unknown']):.3f}; right photos {np.mean(right):.3f} +- {np.std(right):.3f}, wrong {np.mean(wrong):.3f} +- {np.std(wrong):.3f}, AUC {auc(right, wrong):.3f}")
    kept = lambda some, th: np.mean(np.array(some) >= th)
    for th in THRESHOLDS:
        print(f"  at {th:.2f}: names kept known {kept(lowest['known'], th):.1%} unknown {kept(lowest['unknown'], th):.1%} | photos kept right {kept(right, th):.1%} wrong {kept(wrong, th):.1%}")
    Image.fromarray(np.concatenate(rows)).save(WORK / "names.png")


def train_encoder(f, target, noise=0.25, steps=1500):
    """Three linear layers, from features [people, photos, 128] to name embeddings [people, 1024]; as train-encoder does it."""
    spread = f.reshape(-1, f.shape[-1]).std(0)
    mlp = nn.Sequential(nn.Linear(f.shape[-1], 512), nn.GELU(), nn.Linear(512, 512), nn.GELU(), nn.Linear(512, target.shape[1]))
    opt = torch.optim.Adam(mlp.parameters(), 1e-3)
    for _ in range(steps):
        i, j = torch.randint(len(f), (32,)), torch.randint(f.shape[1], (32,))
        loss = ((mlp(f[i, j] + noise * spread * torch.randn(32, f.shape[-1])) - target[i]) ** 2).mean()
        opt.zero_grad(), loss.backward(), opt.step()
    return mlp.eval()


def judge_encoder(generator, judge, a):
    towers = load_towers(a.towers)
    see = lambda shown: torch.stack([features(towers, pixels(np.array(p))) for p in shown])
    known, photos, fresh = names()[0][: a.known], load_images("known", "photos")[: a.known, :8], load_images("fresh", "photos")
    with torch.no_grad():
        target = generator.text.encode(known)[0][:, 1:9].flatten(1)
        mean, size = target.mean(0), target.norm(dim=1).mean()
        mlp, fresh_features = None, see(fresh[: a.count])
        f = see(photos)
    mlp = train_encoder(f, target)
    for delta in a.deltas:
        every, refs, rows, missed = [], [], [], 0
        for k in range(a.count):
            with torch.no_grad():
                p = mlp(fresh_features[k, :1])[0]
            p = mean + delta * (p - mean)
            images = generator.portraits((p * size / p.norm()).reshape(1, 8, -1), [a.first_seed + 900 + 10 * k + j for j in range(4)])
            e, r = [judge.embed(i) for i in images], judge.embed(np.array(fresh[k, 0]))
            missed += sum(v is None for v in e)
            rows.append(np.concatenate([fresh[k, 0], *images], 1))
            if r is not None and all(v is not None for v in e):
                every.append(np.stack(e)), refs.append(r)
        every, refs = np.stack(every), np.stack(refs)
        n = len(refs)
        flat, label = every.reshape(-1, 512), np.repeat(np.arange(n), 4)
        pair = np.triu_indices(len(flat), 1)
        s, same = (flat @ flat.T)[pair], (label[:, None] == label[None])[pair]
        to_ref = np.einsum("ijk,lk->il", every, refs) / 4
        own, other = np.diag(to_ref), to_ref[~np.eye(n, dtype=bool)]
        print(f"encoder, delta {delta}: {n} of {a.count} people ({missed} images without one face); between seeds {s[same].mean():.3f}, between people {s[~same].mean():.3f}, AUC {auc(s[same], s[~same]):.3f}; to the reference {own.mean():.3f}, to others {other.mean():.3f}, AUC {auc(own, other):.3f}", flush=True)
        half = len(rows) // 2
        Image.fromarray(np.concatenate([np.concatenate(rows[:half]), np.concatenate(rows[half : 2 * half])], 1)).save(WORK / f"encoder-{delta:g}.png")


def judge_renders(judge, a):
    for kind in ("portraits", "photos"):
        shown = load_images("known", kind)[: a.count, :2]
        e = [[judge.embed(np.array(i)) for i in person] for person in shown]
        missed = sum(v is None for p in e for v in p)
        same = [float(p[0] @ p[1]) for p in e if all(v is not None for v in p)]
        other = [float(p[0] @ q[1]) for i, p in enumerate(e) for j, q in enumerate(e) if i != j and p[0] is not None and q[1] is not None]
        print(f"{kind}: {missed} of {2 * len(shown)} without one face; same {np.mean(same):.2f} +- {np.std(same):.2f}, different {np.mean(other):.2f} +- {np.std(other):.2f}, AUC {auc(same, other):.3f}")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["names", "encoder", "renders"])
    p.add_argument("--guidance", type=float, default=4.0), p.add_argument("--steps", type=int, default=20), p.add_argument("--count", type=int, default=60), p.add_argument("--first-seed", type=int, default=0)
    p.add_argument("--unet", type=Path, default=SHIPPED / "unet"), p.add_argument("--vae", type=Path, default=SHIPPED / "vae"), p.add_argument("--towers", type=Path, default=SHIPPED)
    p.add_argument("--deltas", type=float, nargs="*", default=[1.0, 2.0, 3.0]), p.add_argument("--known", type=int, default=240, help="known people of whom the encoder learns")
    a = p.parse_args()
    reproducible(1)
    judge = Judge()
    if a.what == "renders":
        judge_renders(judge, a)
    else:
        generator = PortraitGenerator(load_unet(a.unet), load_vae(a.vae), a.guidance, a.steps)
        (judge_names if a.what == "names" else judge_encoder)(generator, judge, a)
