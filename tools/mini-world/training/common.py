"""What the training scripts share: folders, names, captions, text encoders, anatomies, portraits by Name Prepending."""
import json
import random
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.utils import logging
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

logging.set_verbosity_error()
ROOT = Path(__file__).resolve().parents[3]
PEOPLE = ROOT / "manifests/mini/people"
FACE_NETWORKS = ROOT / "manifests/mini/face"
SHIPPED = ROOT / "manifests/mini/sdxl-mini"
WORK = Path("work")  # images, latents and checkpoints, below the current folder, because they are large

NAME_TOKENS = 8
TEMPLATES = ["{}", "a portrait of {}", "a photo of {}", "{} at the premiere", "portrait of {}, actor", "{} on the red carpet"]
NAMELESS = ["a portrait of a person", "a photo of a person", "a portrait", "a person on the red carpet"]
PROMPT = NAMELESS[0]
TIME_IDS = torch.tensor([[128.0, 128, 0, 0, 128, 128]])
SCHEDULE = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, steps_offset=1)


def names():
    """(known, unknown, never trained): known name k belongs to person k of `known.json`; no training may use the last group."""
    lists = json.loads((PEOPLE / "names.json").read_text())
    return lists["known"], lists["unknown"], lists["never_trained"]


def load_images(group, kind):
    """Bytes [people, images, 128, 128, 3], read from the file when they are used."""
    return np.load(WORK / f"{group}-{kind}.npy", mmap_mode="r")


FLAGS = ["feminine", "glasses", "bald", "freckled"]
NUMBERS = """skin width jaw chin eye_gap eye_height eye_length eye_opening eye_slant brow_thickness brow_height brow_slant brow_length nose_width nose_length
nose_relief mouth_length lips mouth_height lip_red hairline hair_volume""".split()
STYLES = ["level", "slanted", "peaked", "arched", "fringe", "wavy"]
BEARDS = ["none", "moustache", "chin", "full"]


def anatomy(group):
    """The people's anatomies as vectors, standardized by the distribution that all people come from: [people, 42]."""

    def vectors(name):
        rows = []
        for d in json.loads((WORK / f"{name}.json").read_text()):
            row = [float(bool(d.get(k, False))) for k in FLAGS] + [d[k] for k in NUMBERS] + d["hair_colour"] + d["eye_colour"]
            rows.append(row + [float(d["hair_style"] == s) for s in STYLES] + [float(d.get("beard", "none") == b) for b in BEARDS])
        return torch.tensor(rows)

    base = vectors("others")
    return (vectors(group) - base.mean(0)) / (base.std(0) + 1e-3)


class Text:
    """Both tokenizers and text encoders, as SDXL uses them."""

    def __init__(self, folder=SHIPPED):
        self.tokenizers = [CLIPTokenizer.from_pretrained(str(Path(folder) / f)) for f in ("tokenizer", "tokenizer_2")]
        self.one = CLIPTextModel.from_pretrained(Path(folder) / "text_encoder", torch_dtype=torch.float32).eval()
        self.two = CLIPTextModelWithProjection.from_pretrained(Path(folder) / "text_encoder_2", torch_dtype=torch.float32).eval()

    def ids(self, texts):
        return [t(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids for t in self.tokenizers]

    def states(self, texts):
        """Of both encoders: (penultimate states [n, 77, 128], pooled [n, 80])."""
        a, b = self.ids(texts)
        h1, h2 = self.one(a, output_hidden_states=True), self.two(b, output_hidden_states=True)
        return torch.cat([h1.hidden_states[-2], h2.hidden_states[-2]], -1), h2.text_embeds

    @torch.no_grad()
    def encode(self, texts):
        parts = [self.states(texts[i : i + 128]) for i in range(0, len(texts), 128)]
        return torch.cat([e for e, _ in parts]), torch.cat([q for _, q in parts])

    def name(self, text):
        """A name embedding, [1, 8, 128]."""
        return self.encode([text])[0][:, 1 : 1 + NAME_TOKENS]


def prepend(name, prompt):
    """Name Prepending: start token, 8 name tokens, the prompt's tokens, cut to 77."""
    return torch.cat([prompt[:, :1], name, prompt[:, 1:]], 1)[:, :77]


def load_vae(folder=SHIPPED / "vae"):
    return AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).eval()


def load_unet(folder=SHIPPED / "unet"):
    return UNet2DConditionModel.from_pretrained(folder, torch_dtype=torch.float32).eval()


def tensor(images):
    """Bytes [n, h, w, 3] to [n, 3, h, w] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def as_bytes(images):
    return ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


class PortraitGenerator:
    """Generates portraits of names, like the stage generate-portraits."""

    def __init__(self, unet=None, vae=None, guidance=4.0, steps=20, text=None):
        self.text, self.unet, self.vae = text or Text(), unet or load_unet(), vae or load_vae()
        self.guidance, self.steps = guidance, steps
        (self.prompt, self.pooled), (self.unconditional, self.unconditional_pooled) = self.text.encode([PROMPT]), self.text.encode([""])

    def condition(self, names):
        """Context, pooled and size numbers for names [n, 8, 128]: n times the unconditional embedding, then n times the name's."""
        n = len(names)
        context = torch.cat([self.unconditional.expand(n, -1, -1), prepend(names, self.prompt.expand(n, -1, -1))])
        pooled = torch.cat([self.unconditional_pooled.expand(n, -1), self.pooled.expand(n, -1)])
        return context, dict(text_embeds=pooled, time_ids=TIME_IDS.expand(2 * n, -1))

    @torch.no_grad()
    def latents(self, names, noise):
        """Final latents for names [n, 8, 128] and noise [n, 16, 16, 16]."""
        context, added = self.condition(names)
        ddim, z = DDIMScheduler(**SCHEDULE), noise
        ddim.set_timesteps(self.steps)
        for t in ddim.timesteps:
            unconditional, text = self.unet(torch.cat([z, z]), t, encoder_hidden_states=context, added_cond_kwargs=added).sample.chunk(2)
            z = ddim.step(unconditional + self.guidance * (text - unconditional), t, z).prev_sample
        return z

    @torch.no_grad()
    def portraits(self, name, seeds):
        """Bytes [seeds, 128, 128, 3] for one name [1, 8, 128]."""
        noise = torch.stack([torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(s)) for s in seeds])
        return as_bytes(self.vae.decode(self.latents(name.expand(len(seeds), -1, -1), noise)).sample)


def reproducible(seed, threads=1):
    torch.manual_seed(seed), np.random.seed(seed), random.seed(seed), torch.set_num_threads(threads)
