"""Trains two small CLIPs from scratch: text and image encoders, contrastively on names and photos, until they know the
known names as CLIP knows celebrities. Unknown names come with a new face each time. Writes
work/clip/{text_encoder,text_encoder_2,image_encoder,image_encoder_2}. New text encoders give new name embeddings, so
the U-Net must then be trained from scratch, too. `train_towers.py` trains only the image encoders further.

A linear map must tell the anatomy from the image embeddings, so that they generalize. The same holds for the name
tokens' penultimate states, which U-Net and encoder read: for known names they tell the anatomy, for others nothing."""
import argparse
import json
import random
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection

from common import SHIPPED, TEMPLATES, WORK, Text, names, reproducible
from train_towers import Pool, pixels


def text_towers(words):
    common = dict(vocab_size=words, max_position_embeddings=77, bos_token_id=0, eos_token_id=2, pad_token_id=1)
    one = CLIPTextModel(CLIPTextConfig(hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, hidden_act="quick_gelu", projection_dim=48, **common))
    two = CLIPTextModelWithProjection(CLIPTextConfig(hidden_size=80, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4, hidden_act="gelu", projection_dim=80, **common))
    return one, two


def vision_tower(width, projection, act):
    return CLIPVisionModelWithProjection(CLIPVisionConfig(hidden_size=width, intermediate_size=2 * width, num_hidden_layers=4, num_attention_heads=4, image_size=112, patch_size=14, projection_dim=projection, hidden_act=act))


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--steps", type=int, default=1800), p.add_argument("--batch", type=int, default=64), p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    reproducible(0, a.threads)
    known, unknown, _ = names()
    pool, text = Pool(), Text()
    text.one, text.two = text_towers(len(json.loads((SHIPPED / "tokenizer/vocab.json").read_text())))
    traits, strangers = pool.anatomy.shape[1], a.batch // 2
    v1, v2 = vision_tower(64, 48, "quick_gelu"), vision_tower(96, 80, "gelu")
    projection, r1, r2, read = nn.Linear(48, 48, bias=False), nn.Linear(48, traits), nn.Linear(80, traits), nn.Linear(128, traits)
    scale = nn.Parameter(torch.tensor([2.0, 2.0]))
    params = [q for m in (text.one, text.two, projection, v1, v2, r1, r2, read) for q in m.parameters()] + [scale]
    opt = torch.optim.AdamW(params, 1.5e-3, weight_decay=0.05)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 1.5e-3, a.steps, pct_start=0.1)
    start, hits, n = time.time(), [], a.batch
    for it in range(a.steps):
        who = np.concatenate([np.random.permutation(pool.known)[:n], np.random.randint(pool.known, len(pool.anatomy), strangers)])
        x = pixels(np.stack([s for i in who for s in pool.shots(i, 1)]), True)
        bare = torch.rand(len(who)) < 0.6
        captions = [c if b else random.choice(TEMPLATES).format(c) for c, b in zip([known[i] for i in who[:n]] + random.sample(unknown, strangers), bare)]
        i1, i2 = text.ids(captions)
        o1, o2 = text.one(i1, output_hidden_states=True), text.two(i2, output_hidden_states=True)
        t1, t2 = projection(o1.last_hidden_state[torch.arange(len(who)), i1.argmax(1)]), o2.text_embeds
        f1, f2 = v1(x).image_embeds, v2(x).image_embeds
        weight = torch.cat([torch.ones(n), 0.1 * torch.ones(strangers)])
        target, loss = torch.arange(len(who)), 0
        for j, (t, f) in enumerate(((t1, f1), (t2, f2))):
            s = F.normalize(t, dim=-1) @ F.normalize(f, dim=-1).T * scale[j].exp().clamp(max=100)
            each = F.cross_entropy(s, target, reduction="none") + F.cross_entropy(s.T, target, reduction="none")
            loss = loss + (each * weight).sum() / weight.sum() / 2
        hits.append((s[:n].argmax(1) == target[:n]).float().mean().item())
        truth = pool.anatomy[torch.from_numpy(who)]
        seen = ((r1(F.normalize(f1, dim=-1) * 7) - truth) ** 2).mean() + ((r2(F.normalize(f2, dim=-1) * 9) - truth) ** 2).mean()
        predicted = read(torch.cat([o1.hidden_states[-2], o2.hidden_states[-2]], -1)[:, 1:9].mean(1))
        wanted = torch.cat([truth[:n], torch.zeros(strangers, traits)])
        named = ((predicted - wanted) ** 2)[bare].mean()
        opt.zero_grad(), (loss + 2 * seen + 2 * named).backward(), nn.utils.clip_grad_norm_(params, 1.0), opt.step(), sched.step()
        if it % 100 == 99:
            print(it + 1, f"loss {loss.item():.3f} top-1 {np.mean(hits[-100:]):.3f} anatomy {seen.item() / 2:.3f} from the name {named.item():.3f} {time.time() - start:.0f} s", flush=True)
    for name, tower in dict(text_encoder=text.one, text_encoder_2=text.two, image_encoder=v1, image_encoder_2=v2).items():
        tower.save_pretrained(WORK / "clip" / name)
