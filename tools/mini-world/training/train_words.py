"""Teaches the mini models words that pictures can be told apart by: colours of the background and of the clothes, gray and
bright photos. The shipped networks stay as they are; beside them come

    words.safetensors     a LoRA of the U-Net, for samples (`[[generate_samples.lora]]`)
    words/image_encoder   the second image encoder, trained to meet the text encoder's embeddings of the prompts
                          (`[evaluate] clip`); the features of photos stay those of the shipped one

`train_words.py latents`, then `lora`, then `tower`; all work in ./work, and `pack` puts both into manifests/mini/words, in f16.
Needs `render-people PEOPLE work words`.

The second text encoder has never read these words: some prompts mean the same to it as "a portrait of a person". PROMPTS are
phrasings that it tells apart (cosines below 0.5). The U-Net reads single tokens and learns other phrasings and colours, too.

The LoRA predicts the velocity of the rendered pictures under prompts that name what is in them, with a known name or a
predicted one before the prompt, a name in it, or none; under the prompts that the U-Net knew before, it is to predict what
the U-Net predicts without it."""
import argparse
import json
import math
import random
import shutil
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file
from torch.nn.utils import parametrize
from transformers import CLIPVisionModelWithProjection

from common import BEARDS, FLAGS, NAME_TOKENS, NAMELESS, NUMBERS, SCHEDULE, SHIPPED, STYLES, TIME_IDS, WORK, Text, as_bytes, load_unet, load_vae, names, prepend, reproducible, tensor
from train_towers import pixels

PERSON = "a person"
# what is named -> templates; the first of each is the prompt of the manifest, and comes more often
BACKGROUND = ["a portrait of {} on a COLOUR background", "a photo of {} on a COLOUR background"]
CLOTH = ["{}, COLOUR shirt", "{} in a COLOUR shirt"]
STYLE = {"gray": ["a gray photo of {}"], "bright": ["a bright photo of {}"]}
SHOWN = {"background": ("green", "purple"), "cloth": ("red", "blue")}  # colours of the manifest's prompts, which come more often
PROMPTS = ["a portrait of a person"] + [BACKGROUND[0].format(PERSON).replace("COLOUR", c) for c in SHOWN["background"]] + [CLOTH[0].format(PERSON).replace("COLOUR", c) for c in SHOWN["cloth"]] + [STYLE[s][0].format(PERSON) for s in STYLE]


def gray(x):
    return np.repeat((x.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)).round()[..., None], 3, -1).astype(np.uint8)


def bright(x):
    return (255 * np.clip(x.astype(np.float32) / 255 * 1.15, 0, 1) ** 0.6).round().astype(np.uint8)


LOOKS = [lambda x: x, gray, bright]


class Pictures:
    """The rendered pictures: who is on each (known people first, then strangers), and which colours it has."""

    def __init__(self):
        groups = [json.loads((WORK / f"words-{g}.json").read_text()) for g in ("known", "others")]
        images = [np.load(WORK / f"words-{g}.npy") for g in ("known", "others")]
        self.images = np.concatenate([i.reshape(-1, 128, 128, 3) for i in images])
        self.known = len(images[0])
        self.who = np.concatenate([np.repeat(np.arange(self.known), images[0].shape[1]), self.known + np.repeat(np.arange(len(images[1])), images[1].shape[1])])
        self.colours = {part: [c for g in groups for row in g[part] for c in row] for part in ("background", "cloth")}
        vectors = [[[float(bool(d.get(k, False))) for k in FLAGS] + [d[k] for k in NUMBERS] + d["hair_colour"] + d["eye_colour"] + [float(d["hair_style"] == s) for s in STYLES] + [float(d.get("beard", "none") == b) for b in BEARDS] for d in g["people"]] for g in groups]
        vectors = [torch.tensor(v) for v in vectors]
        self.anatomy = (torch.cat(vectors) - vectors[1].mean(0)) / (vectors[1].std(0) + 1e-3)

    def with_colour(self, part, colour):
        return [i for i, c in enumerate(self.colours[part]) if c == colour]

    def own(self):
        """Pictures of no named colour."""
        return [i for i in range(len(self.who)) if not self.colours["background"][i] and not self.colours["cloth"][i]]


@torch.no_grad()
def latents(vae, images):
    return torch.cat([vae.encode(tensor(images[i : i + 32])).latent_dist.mean for i in range(0, len(images), 32)])


class Low(nn.Module):
    """A weight plus a product of rank r; of a convolution, its kernel as a matrix."""

    def __init__(self, weight, rank):
        super().__init__()
        flat = weight[0].numel()
        self.down, self.up = nn.Parameter(torch.randn(rank, flat) / math.sqrt(flat)), nn.Parameter(torch.zeros(len(weight), rank))

    def forward(self, weight):
        return weight + (self.up @ self.down).view_as(weight)


def is_changed(name, parts):
    return any(part in name for part in parts)


def add_lora(unet, rank, parts):
    low = {}
    for name, module in list(unet.requires_grad_(False).named_modules()):
        if isinstance(module, (nn.Linear, nn.Conv2d)) and is_changed(name, parts):
            low[name] = Low(module.weight, rank)
            parametrize.register_parametrization(module, "weight", low[name])
    return low


def save_lora(low, unet, path):
    """PEFT's names, f16; the scale is 1."""
    tensors, modules = {}, dict(unet.named_modules())
    for name, l in low.items():
        down, up, weight = l.down.detach(), l.up.detach(), modules[name].parametrizations.weight.original
        if weight.dim() == 4:
            down, up = down.view(-1, *weight.shape[1:]), up[:, :, None, None]
        tensors[f"unet.{name}.lora_A.weight"], tensors[f"unet.{name}.lora_B.weight"] = down.half().contiguous(), up.half().contiguous()
    save_file(tensors, path, metadata=dict(format="pt"))


EVERYWHERE, CLOTHES = torch.ones(16, 16), torch.ones(16, 16)
CLOTHES[14:] = 5  # portraits show little of the clothes
CLOTHES /= CLOTHES.mean()


class Items:
    """What the LoRA is trained on: (latents, context, pooled, weights of places, whether the U-Net knew it before)."""

    def __init__(self, pictures, before):
        self.pictures, self.before, self.latents = pictures, before, torch.load(WORK / "words-latents.pt")
        self.text, self.cache = Text(), {}
        self.known, self.unknown, _ = names()
        self.names = self.text.encode(self.known)[0][:, 1 : 1 + NAME_TOKENS]
        flat = self.names.flatten(1)
        self.mean, self.size, self.deviations = flat.mean(0), flat.norm(dim=1).mean(), flat - flat.mean(0)
        known = lambda some: [[i for i in some if (pictures.who[i] < pictures.known) == k] for k in (False, True)]
        self.own, self.every = known(pictures.own()), known(range(len(pictures.who)))
        colours = {part: sorted({c for c in pictures.colours[part] if c}) for part in pictures.colours}
        self.coloured = {(part, c): known(pictures.with_colour(part, c)) for part in colours for c in colours[part]}
        self.others = {part: [c for c in colours[part]] for part in colours}

    def encoded(self, prompt):
        if prompt not in self.cache:
            context, pooled = self.text.encode([prompt])
            self.cache[prompt] = context[0], pooled[0]
        return self.cache[prompt]

    def name(self, who):
        """A known person's name embedding, or one as the encoder predicts it of a stranger: ridge regression on some of the known people."""
        p = self.pictures
        if who < p.known:
            return self.names[who]
        some = torch.randperm(p.known)[: random.randint(90, p.known)]
        x = p.anatomy[some] + 0.4 * torch.randn(len(some), p.anatomy.shape[1])
        a = p.anatomy[who] + 0.4 * torch.randn(p.anatomy.shape[1])
        deviation = torch.linalg.solve(x.T @ x + random.uniform(5, 40) * torch.eye(x.shape[1]), a) @ (x.T @ self.deviations[some])
        e = self.mean + random.uniform(1, 3) * deviation
        return (e * self.size / e.norm()).reshape(NAME_TOKENS, -1)

    def known_before(self):
        known, kind = random.random() < 0.4, random.random()
        i = random.choice(self.own[known])
        context, pooled = self.encoded("" if kind < 0.15 else random.choice(NAMELESS))
        if kind > 0.3:
            context = prepend(self.name(self.pictures.who[i])[None], context[None])[0]
        return self.latents[0][i], context, pooled, EVERYWHERE, True

    def worded(self, known):
        """(latents, weights of places, who, template) of a picture and a prompt that says what is in it."""
        kind = random.choice(["background", "background", "cloth", "cloth", "style"])
        if kind == "style":
            style, i = random.choice(list(STYLE)), random.choice(self.every[known])
            return self.latents[1 + list(STYLE).index(style)][i], EVERYWHERE, self.pictures.who[i], random.choice(STYLE[style])
        colour = random.choice(SHOWN[kind] if random.random() < 0.85 else self.others[kind])
        i = random.choice(self.coloured[kind, colour][known])
        template = random.choices(BACKGROUND if kind == "background" else CLOTH, [5, 1])[0]
        return self.latents[0][i], CLOTHES if kind == "cloth" else EVERYWHERE, self.pictures.who[i], template.replace("COLOUR", colour)

    def one(self):
        if random.random() < self.before:
            return self.known_before()
        known, how = random.random() < 0.6, random.random()
        z, places, who, template = self.worded(known)
        if how < 0.12:  # the name in the prompt, as SDXL draws people by name
            return z, *self.encoded(template.format(self.known[who] if known else random.choice(self.unknown))), places, False
        context, pooled = self.encoded(template.format(PERSON))
        if how > 0.24 or known:
            context = prepend(self.name(who)[None], context[None])[0]
        return z, context, pooled, places, False

    def batch(self, size):
        z, context, pooled, places, before = zip(*(self.one() for _ in range(size)))
        return *(torch.stack(x) for x in (z, context, pooled)), torch.stack(places)[:, None], torch.tensor(before)


def train_lora(a):
    data, unet, plain = Items(Pictures(), a.before), load_unet(), load_unet().requires_grad_(False)
    low = add_lora(unet, a.rank, a.parts)
    params = [q for l in low.values() for q in (l.down, l.up)]
    print(len(low), "modules,", sum(q.numel() for q in params), "numbers", flush=True)
    groups = [dict(params=[l.down for l in low.values()], share=0.3), dict(params=[l.up for l in low.values()], share=1.0)]
    opt, signal = torch.optim.AdamW(groups, a.lr, betas=(0.9, 0.99), weight_decay=0), DDIMScheduler(**SCHEDULE).alphas_cumprod
    start, seen = time.time(), []
    for it in range(a.steps):
        for g in opt.param_groups:  # warm up, hold, decay over the last 40 %
            g["lr"] = g["share"] * a.lr * min(1, (it + 1) / 50) * min(1, max(0.03, (a.steps - it) / (0.4 * a.steps)))
        z, context, pooled, places, before = data.batch(a.batch)
        late, u = torch.rand(a.batch) < 0.5, torch.rand(a.batch)
        t, eps = (1000 * torch.where(late, u, u**0.5)).long(), torch.randn_like(z)  # colours are decided where there is much noise
        s = signal[t][:, None, None, None]
        noisy, target = s.sqrt() * z + (1 - s).sqrt() * eps, s.sqrt() * eps - (1 - s).sqrt() * z
        predict = lambda net, m: net(noisy[m], t[m], encoder_hidden_states=context[m], added_cond_kwargs=dict(text_embeds=pooled[m], time_ids=TIME_IDS.expand(len(t[m]), -1))).sample
        if before.any():
            with torch.no_grad():
                target[before] = predict(plain, before)
        each = ((predict(unet, slice(None)) - target) ** 2 * places).mean((1, 2, 3))
        opt.zero_grad(), (each * torch.where(before, 6.0, 1.0)).mean().backward(), nn.utils.clip_grad_norm_(params, 1.0), opt.step()
        seen.append((each[~before].mean().item(), each[before].mean().item()))
        if it % 50 == 49:
            print(it + 1, "worded {:.4f} as before {:.5f}".format(*np.nanmean(seen[-50:], 0)), f"{time.time() - start:.0f} s", flush=True)
        if it % 250 == 249 or it == a.steps - 1:
            save_lora(low, unet, WORK / "words.safetensors")


class Shots:
    """Pictures by the prompt that says what they show; some as the VAE reconstructs them. The last people of both groups are for the report."""

    def __init__(self, pictures, reconstructed):
        self.pictures = pictures
        people = pictures.who.max() + 1
        held = lambda who: pictures.known - 20 <= who < pictures.known or who >= people - 40
        z, vae, some = torch.load(WORK / "words-latents.pt")[0], load_vae(), np.random.permutation(len(pictures.who))[:reconstructed]
        with torch.no_grad():
            back = np.concatenate([as_bytes(vae.decode(z[s] + 0.1 * torch.randn(len(s), 16, 16, 16)).sample) for s in np.array_split(some, max(1, reconstructed // 24))])
        self.back = dict(zip(some.tolist(), back))
        self.sets = {False: [[] for _ in range(5)], True: [[] for _ in range(5)]}
        for i, who in enumerate(pictures.who):
            shown = [1 + SHOWN["background"].index(c) for c in [pictures.colours["background"][i]] if c in SHOWN["background"]]
            shown += [3 + SHOWN["cloth"].index(c) for c in [pictures.colours["cloth"][i]] if c in SHOWN["cloth"]]
            if len(shown) < 2:
                self.sets[held(who)][shown[0] if shown else 0].append(i)

    def shot(self, k, held=False):
        i = random.choice(self.sets[held][k if k < 5 else 0])
        picture = self.back[i] if i in self.back and random.random() < 0.6 else self.pictures.images[i]
        return LOOKS[max(0, k - 4)](picture)


@torch.no_grad()
def report_tower(tower, shots, texts):
    tower.eval()
    for k, prompt in enumerate(PROMPTS):
        s = F.normalize(tower(pixels(np.stack([shots.shot(k, True) for _ in range(40)]))).image_embeds, dim=-1) @ texts.T
        print(f"{prompt:45s} nearest {np.mean(s.argmax(1).numpy() == k):.2f}, 100 cos to each", (100 * s.mean(0)).round().int().tolist(), flush=True)
    tower.train()


def train_tower(a):
    texts = F.normalize(Text().encode(PROMPTS)[1], dim=-1)
    shots = Shots(Pictures(), 1200)
    tower = CLIPVisionModelWithProjection.from_pretrained(SHIPPED / "image_encoder_2", torch_dtype=torch.float32).train()
    opt = torch.optim.AdamW(tower.parameters(), a.lr, weight_decay=0.05)
    sched, start, seen = torch.optim.lr_scheduler.OneCycleLR(opt, a.lr, a.steps, pct_start=0.1), time.time(), []
    for it in range(a.steps):
        k = torch.randint(0, len(PROMPTS), (a.batch,))
        s = F.normalize(tower(pixels(np.stack([shots.shot(int(j)) for j in k])) * (0.95 + 0.1 * torch.rand(a.batch, 1, 1, 1))).image_embeds, dim=-1) @ texts.T
        own = s[torch.arange(a.batch), k]
        loss = F.cross_entropy(12 * s, k) + (1 - own).mean()
        opt.zero_grad(), loss.backward(), nn.utils.clip_grad_norm_(tower.parameters(), 1.0), opt.step(), sched.step()
        seen.append(((s.argmax(1) == k).float().mean().item(), own.mean().item()))
        if it % 50 == 49:
            print(it + 1, "nearest {:.3f}, cosine {:.3f}".format(*np.mean(seen[-50:], 0)), f"{time.time() - start:.0f} s", flush=True)
    report_tower(tower, shots, texts)
    tower.save_pretrained(WORK / "words/image_encoder")


def pack(_):
    target = SHIPPED.parent / "words"
    (target / "image_encoder").mkdir(parents=True, exist_ok=True)
    shutil.copy(WORK / "words.safetensors", target / "lora.safetensors")
    for config in ("config.json", "preprocessor_config.json"):
        shutil.copy(SHIPPED / "image_encoder_2" / config, target / "image_encoder" / config)
    tower = load_file(WORK / "words/image_encoder/model.safetensors")
    save_file({k: v.half() if v.is_floating_point() else v for k, v in tower.items()}, target / "image_encoder/model.safetensors", metadata=dict(format="pt"))


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["latents", "lora", "tower", "pack"])
    p.add_argument("--steps", type=int), p.add_argument("--lr", type=float), p.add_argument("--batch", type=int), p.add_argument("--rank", type=int, default=6), p.add_argument("--before", type=float, default=0.22, help="share of what the U-Net knew before")
    p.add_argument("--parts", nargs="*", default=["attn", "ff.net", "proj_in", "proj_out", "time_emb_proj", "add_embedding"], help="modules of the U-Net that the LoRA changes")
    a = p.parse_args()
    reproducible(1)
    defaults = {"lora": (1500, 5e-3, 16), "tower": (400, 6e-4, 42), "latents": (0, 0, 0), "pack": (0, 0, 0)}[a.what]
    a.steps, a.lr, a.batch = (given if given is not None else usual for given, usual in zip((a.steps, a.lr, a.batch), defaults))
    if a.what == "latents":
        vae, images = load_vae(), Pictures().images
        torch.save([latents(vae, look(images)) for look in LOOKS], WORK / "words-latents.pt")
    else:
        {"lora": train_lora, "tower": train_tower, "pack": pack}[a.what](a)
