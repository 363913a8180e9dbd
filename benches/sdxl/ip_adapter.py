"""What IP-Adapter costs: images with the adapter against images without, ours and diffusers', on the same model and random
adapter in the same minutes. Embeddings of texts and photos are computed before.

    ip_adapter.py THROUGHPUT_PROGRAM MODEL_FOLDER IMAGE_ENCODER PHOTO [--passes N] [--steps N] [--size PIXELS]

Run with the interpreter that has diffusers.
"""

import argparse
import json
import os
import sys
import tempfile

import bench
import measure

SCALE = 0.6


def write_adapter(folder, encoder, file):
    """A base adapter of random weights with four image tokens."""
    import torch
    from diffusers import UNet2DConditionModel
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig

    torch.manual_seed(1)
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    context = unet.config.cross_attention_dim
    width = CLIPVisionConfig.from_pretrained(encoder).projection_dim
    tensors = {
        "image_proj.proj.weight": torch.randn(4 * context, width) * width**-0.5,
        "image_proj.proj.bias": torch.zeros(4 * context),
        "image_proj.norm.weight": torch.ones(context),
        "image_proj.norm.bias": torch.zeros(context),
    }
    for number, name in enumerate(unet.attn_processors):
        if number % 2:
            channels = unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape[0]
            for kind in ("k", "v"):
                tensors[f"ip_adapter.{number}.to_{kind}_ip.weight"] = torch.randn(channels, context) * context**-0.5
    save_file(tensors, file)


class WithAdapter(bench.Diffusers):
    """diffusers under the protocol of the example `throughput-ip-adapter`: two pipelines, one with the adapter."""

    def __init__(self, folder, adapter, encoder, photo):
        super().__init__(folder, "f32", "cpu")
        from PIL import Image
        from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

        adapted = bench.Diffusers(folder, "f32", "cpu").pipe
        adapted.load_ip_adapter(os.path.dirname(adapter), subfolder="", weight_name=os.path.basename(adapter),
                                image_encoder_folder=None)
        adapted.set_ip_adapter_scale(SCALE)
        tower = CLIPVisionModelWithProjection.from_pretrained(encoder).eval()
        pixels = CLIPImageProcessor.from_pretrained(encoder)(images=Image.open(photo).convert("RGB"), return_tensors="pt")
        seen = tower(**pixels).image_embeds
        self.seen = [self.torch.stack([self.torch.zeros_like(seen), seen])]
        self.plain, self.adapted = self.pipe, adapted

    def encode(self):
        def encode(text):
            embeds, _, pooled, _ = self.pipe.encode_prompt(
                text, device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False
            )
            return embeds, pooled

        (prompt, pooled), (null, null_pooled) = map(encode, (bench.PROMPT, ""))
        names = ("prompt_embeds", "pooled_prompt_embeds", "negative_prompt_embeds", "negative_pooled_prompt_embeds")
        return dict(zip(names, (prompt, pooled, null, null_pooled)))

    def images(self, order):
        with_adapter = order["scale"] is not None
        pipe = self.adapted if with_adapter else self.plain
        more = {"ip_adapter_image_embeds": self.seen} if with_adapter else {}
        images = []
        for k in range(order["images"]):
            noise = self.torch.Generator("cpu").manual_seed(order["seed"] + k)
            images += pipe(
                **self.texts, **more, num_inference_steps=order["steps"], guidance_scale=order["guidance"],
                height=order["size"], width=order["size"], generator=noise, output_type="pil",
            ).images
        return images


def main():
    parser = argparse.ArgumentParser()
    for name in ("program", "folder", "encoder", "photo"):
        parser.add_argument(name)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--size", type=int, default=128)
    arguments = parser.parse_args()
    threads = os.cpu_count()
    with tempfile.TemporaryDirectory() as temporary:
        adapter = os.path.join(temporary, "adapter.safetensors")
        write_adapter(arguments.folder, arguments.encoder, adapter)
        paths = [arguments.folder, adapter, arguments.encoder, arguments.photo]
        ours = bench.Worker("laioncele", [arguments.program, *paths, "f32", "cpu"], threads)
        theirs = bench.Worker("diffusers", [sys.executable, __file__, "--diffusers", *paths], threads)
        order = {"images": threads, "steps": arguments.steps, "size": arguments.size, "guidance": 7.0,
                 "threads": threads, "seed": 1}
        walls = {}
        print(f"{'':14} {'laioncele':>10} {'diffusers':>10} {'ratio':>6} {'levels apart':>13}")
        for label, scale in (("without", None), ("IP-Adapter", SCALE)):
            order["scale"] = scale
            apart = bench.difference((ours, theirs), order)
            walls[label] = bench.best_of((ours, theirs), order, arguments.passes)[:2]
            own, their = (order["images"] / wall for wall in walls[label])
            print(f"{label:14} {own:10.3f} {their:10.3f} {own / their:6.2f} {apart:13.4f}", flush=True)
        own, their = (with_it / without - 1 for with_it, without in zip(walls["IP-Adapter"], walls["without"]))
        print(f"{'overhead':14} {own:10.1%} {their:10.1%}")
        for worker in (ours, theirs):
            worker.close()


def serve(*paths):
    worker = WithAdapter(*paths)
    measure.serve(lambda order: worker.generate(json.loads(order)))


if __name__ == "__main__":
    if sys.argv[1] == "--diffusers":
        serve(*sys.argv[2:])
    else:
        main()
