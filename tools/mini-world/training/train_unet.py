"""Trains the mini U-Net on frozen text encoders. A known name always comes with its own face, other names never twice
with the same face. Writes work/unet.

It predicts velocity: at this size it learns what a name decides much sooner than with noise prediction. It starts from
the shipped weights, or from scratch (`--from-nothing --critic 0 --batch 48 --steps 9600 --lr 1.2e-3`).

The image-to-name encoder leads to faces between the known ones. So that the U-Net learns them, too, a linear map from
anatomy to the known names' embeddings gives every stranger an embedding.

With a critic, some of each batch's predicted portraits go through the VAE's decoder and the face networks. They must
show one face, and the person, known or stranger, must be recognized sooner than anybody else. With `--generated` this
also holds for portraits of known names that the U-Net generates itself, by Name Prepending and with guidance, up to a
step of the sampler that is then trained. Known people who are hard to recognize come more often. Needs `prepare.py latents` and,
for the critic, `prepare.py faces`."""
import argparse
import random
import time

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel

from common import NAME_TOKENS, NAMELESS, PROMPT, SCHEDULE, SHIPPED, TEMPLATES, TIME_IDS, WORK, Text, anatomy, load_unet, load_vae, names, prepend, reproducible
from faces import Critic


def new_unet(widths=(32, 64, 96), heads=(1, 2, 3)):
    return UNet2DConditionModel(sample_size=16, in_channels=16, out_channels=16, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                                block_out_channels=widths, layers_per_block=1, transformer_layers_per_block=(1, 1, 2), attention_head_dim=heads, cross_attention_dim=128, use_linear_projection=True,
                                addition_embed_type="text_time", addition_time_embed_dim=16, projection_class_embeddings_input_dim=80 + 96, norm_num_groups=16)


class Conditions:
    """(latents, context, pooled) of every kind that the U-Net is to know."""

    def __init__(self, shares):
        self.shares = shares
        known, unknown, _ = names()
        self.latents = torch.load(WORK / "latents.pt")
        self.names, self.count, self.known = known + unknown, len(known) + len(unknown), len(known)
        text = Text()
        self.states, self.pooled = text.encode([t.format(n) for n in self.names for t in TEMPLATES] + NAMELESS + [""])
        name_embeddings = text.encode(known)[0][:, 1 : 1 + NAME_TOKENS]
        self.name_embeddings, self.size = name_embeddings, name_embeddings.flatten(1).norm(dim=1).mean()
        self.mean = name_embeddings.flatten(1).mean(0)
        self.known_anatomy, self.others_anatomy = anatomy("known"), anatomy("others")[: len(self.latents["others"])]
        self.recognized = np.full(self.known, 0.8)

    def nobody(self, i):
        """An embedding for stranger i: ridge regression on some of the known people, anatomy known as roughly as an encoder knows it, any length of
        the deviation from the mean, normed as generate-samples norms it."""
        some = torch.randperm(self.known)[: random.randint(90, self.known)]
        x, y = self.known_anatomy[some], self.name_embeddings.flatten(1)[some] - self.mean
        x = x + 0.4 * torch.randn_like(x)
        design = x.T @ x + random.uniform(5, 40) * torch.eye(x.shape[1])
        a = self.others_anatomy[i] + 0.4 * torch.randn(x.shape[1])
        deviation = torch.linalg.solve(design, a) @ (x.T @ y)
        p = self.mean + random.uniform(1.0, 3.0) * deviation
        return (p * self.size / p.norm()).reshape(1, NAME_TOKENS, -1)

    def sample(self, size):
        """A batch, with the person that each item shows: first the known people's numbers, then the strangers', or -1 for no
        particular person."""
        base, z, context, pooled, who = self.count * len(TEMPLATES), [], [], [], []
        for kind in random.choices(["known", "unknown", "nobody", "nameless"], self.shares, k=size):
            k = base + random.randrange(len(NAMELESS))
            person = -1
            if kind == "known":
                person = name = random.choices(range(self.known), 1.1 - self.recognized)[0]
                z.append(self.latents["known"][person, random.randrange(self.latents["known"].shape[1])])
            else:
                other = random.randrange(len(self.latents["others"]))
                z.append(self.latents["others"][other, random.randrange(self.latents["others"].shape[1])])
                name = random.randrange(self.known, self.count)
            if kind == "nameless":
                k = random.choice([k, base + len(NAMELESS)])
                context.append(self.states[k])
            elif kind == "nobody":
                context.append(prepend(self.nobody(other), self.states[k][None])[0])
                person = self.known + other
            elif random.random() < 0.75:
                context.append(prepend(self.states[name * len(TEMPLATES), 1 : 1 + NAME_TOKENS][None], self.states[k][None])[0])
            else:
                k = name * len(TEMPLATES) + random.randrange(len(TEMPLATES))
                context.append(self.states[k])
            pooled.append(self.pooled[k]), who.append(person)
        return torch.stack(z), torch.stack(context), torch.stack(pooled), np.array(who)


class Recognition:
    """How well predicted latents show the people that they are to show, known ones and then strangers: likeness to the person, cross entropy of
    the person among everybody (so that a portrait of the average face pleases nobody), surprise at the face."""

    TEMPERATURE = 0.1

    def __init__(self, vae):
        seen = [torch.load(WORK / "faces.pt")[group] for group in ("known", "others")]
        self.person = torch.cat([F.normalize(s["embeddings"].mean(1), dim=-1) for s in seen])
        self.usual = torch.cat([s["landmarks"].mean(1) for s in seen])
        self.vae, self.critic = load_vae(vae).requires_grad_(False), Critic()

    def __call__(self, z, who):
        view = self.critic.view(self.vae.decode(z).sample)
        conf, found = self.critic.scores(view)
        best = conf.max(1).values
        marks = [k if b > 0.05 else self.usual[w].numpy() for k, b, w in zip(found, best, who)]
        likeness, who = self.critic.embed(view, marks) @ self.person.T, torch.from_numpy(who)
        same, mistaken = likeness[torch.arange(len(who)), who], F.cross_entropy(likeness / self.TEMPERATURE, who, reduction="none")
        return same, mistaken, -(best.clamp(min=1e-6).log()).clamp(max=6)


class OwnPortraits:
    """Portraits of known names, generated like the stage generate-portraits does, seen at some step."""

    def __init__(self, data, guidance, steps=20):
        self.data, self.guidance, self.steps = data, guidance, steps
        base = data.count * len(TEMPLATES)
        self.prompt, self.unconditional = base + NAMELESS.index(PROMPT), base + len(NAMELESS)

    def __call__(self, unet, count):
        """Predicted clean latents (with gradient through the last step alone) and whom they show."""
        data = self.data
        who = np.array(random.choices(range(data.known), 1.1 - data.recognized, k=count))
        text = prepend(data.name_embeddings[torch.from_numpy(who)], data.states[self.prompt].expand(count, -1, -1))
        context = torch.cat([data.states[self.unconditional].expand(count, -1, -1), text])
        pooled = torch.cat([data.pooled[k].expand(count, -1) for k in (self.unconditional, self.prompt)])
        added = dict(text_embeds=pooled, time_ids=TIME_IDS.expand(2 * count, -1))

        def velocity(z, t):
            unconditional, text = unet(torch.cat([z, z]), t, encoder_hidden_states=context, added_cond_kwargs=added).sample.chunk(2)
            return unconditional + self.guidance * (text - unconditional)

        ddim, z = DDIMScheduler(**SCHEDULE), torch.randn(count, 16, 16, 16)
        ddim.set_timesteps(self.steps)
        last = random.randrange(self.steps // 4, self.steps)
        with torch.no_grad():
            for t in ddim.timesteps[:last]:
                z = ddim.step(velocity(z, t), t, z).prev_sample
        t = ddim.timesteps[last]
        return ddim.step(velocity(z, t), t, z).pred_original_sample, who


def train(a):
    reproducible(a.seed)
    data = Conditions(a.shares)
    unet = (new_unet() if a.from_nothing else load_unet(a.start)).train()
    recognition = Recognition(a.vae) if a.critic else None
    faces = len(recognition.person) if a.critic else 0
    own_portraits = OwnPortraits(data, a.guidance)
    opt = torch.optim.AdamW(unet.parameters(), a.lr, betas=(0.9, 0.99), weight_decay=0.01)
    average = {k: v.clone() for k, v in unet.state_dict().items()}
    signal = DDIMScheduler(**SCHEDULE).alphas_cumprod
    start, log = time.time(), []
    for it in range(a.steps):
        lr = a.lr * min(1, (it + 1) / a.warm_up) * min(1.0, max(0.03, (a.steps - it) / (0.5 * a.steps)))  # warm up, hold, decay over the last half
        for g in opt.param_groups:
            g["lr"] = lr
        z, context, pooled, who = data.sample(a.batch)
        t = torch.randint(0, 1000, (a.batch,))
        judged = np.flatnonzero((who >= 0) & (who < faces))[: a.critic]
        t[judged] = torch.randint(350, 1000, (len(judged),))  # where the face must come from the name
        s = signal[t][:, None, None, None]
        eps = torch.randn_like(z)
        noisy = s.sqrt() * z + (1 - s).sqrt() * eps
        out = unet(noisy, t, encoder_hidden_states=context, added_cond_kwargs=dict(text_embeds=pooled, time_ids=TIME_IDS.expand(a.batch, -1))).sample
        each = ((out - (s.sqrt() * eps - (1 - s).sqrt() * z)) ** 2).mean((1, 2, 3))
        loss, same, missed, known = each.mean(), torch.zeros(1), torch.zeros(1), np.ones(1, bool)
        if len(judged):
            clean, who = (s.sqrt() * noisy - (1 - s).sqrt() * out)[judged], who[judged]
            if a.generated:
                own, whose = own_portraits(unet, a.generated)
                clean, who = torch.cat([clean, own]), np.concatenate([who, whose])
            same, mistaken, missed = recognition(clean, who)
            loss = loss + a.weight * ((1 - same).mean() + 0.1 * mistaken.mean() + 0.15 * missed.mean())
            known = who < data.known
            for person, value in zip(who[known], same[known].tolist()):
                data.recognized[person] += 0.2 * (value - data.recognized[person])
        opt.zero_grad(), loss.backward(), torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0), opt.step()
        decay = min(a.decay, (1 + it) / (10 + it))
        with torch.no_grad():
            for k, v in unet.state_dict().items():
                average[k].lerp_(v, 1 - decay)
        log.append((each[t < 500].mean().item(), each[t >= 500].mean().item(), same[known].mean().item(), same[~known].mean().item(), (missed > 0.51).float().mean().item()))
        if it % 25 == 24:
            print(it + 1, "mse at low and high noise {:.4f} {:.4f} recognized {:.3f} strangers {:.3f} no face {:.3f}".format(*np.nanmean(log[-25:], 0)), f"lr {lr:.1e} {time.time() - start:.0f} s", flush=True)
        if it % 100 == 99 or it == a.steps - 1:
            now = {k: v.clone() for k, v in unet.state_dict().items()}
            unet.load_state_dict(average), unet.save_pretrained(WORK / a.out), unet.load_state_dict(now)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--start", default=SHIPPED / "unet"), p.add_argument("--from-nothing", action="store_true"), p.add_argument("--vae", default=SHIPPED / "vae"), p.add_argument("--out", default="unet")
    p.add_argument("--steps", type=int, default=600), p.add_argument("--lr", type=float, default=3e-4), p.add_argument("--batch", type=int, default=20), p.add_argument("--warm-up", type=int, default=30), p.add_argument("--decay", type=float, default=0.98), p.add_argument("--seed", type=int, default=7)
    p.add_argument("--critic", type=int, default=4, help="how many of a batch the face networks judge"), p.add_argument("--weight", type=float, default=0.1)
    p.add_argument("--generated", type=int, default=0, help="portraits that the U-Net generates itself and the face networks judge, with each batch"), p.add_argument("--guidance", type=float, default=3.0, help="of those")
    p.add_argument("--shares", type=float, nargs=4, default=[0.6, 0.12, 0.2, 0.08], help="of known, unknown, nobody's and no names")
    train(p.parse_args())
