"""Writes an SDXL folder in Diffusers layout as one file in the original layout, as fine-tunes are published.

    single_file.py MODEL_FOLDER FILE

Run with an interpreter that has torch and safetensors.
"""

import json
import re
import sys
from pathlib import Path

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
ATTENTION = {"attentions.0.group_norm": "attn_1.norm", "attentions.0.to_out.0": "attn_1.proj_out", "attentions.0.to_": "attn_1."}
OPEN_CLIP = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
             "self_attn.out_proj": "attn.out_proj"}


def unet_places(config):
    """Where the parts of the U-Net stand: the original layout counts conv_in, ResNets and samplers in one list."""
    levels, layers = len(config["block_out_channels"]), config["layers_per_block"]
    layers = layers if isinstance(layers, list) else [layers] * levels
    places = {"conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
              "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
              "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
              "mid_block.resnets.1": "middle_block.2", "conv_norm_out": "out.0", "conv_out": "out.2"}
    number = 1
    for i in range(levels):
        for j in range(layers[i]):
            places[f"down_blocks.{i}.resnets.{j}"] = f"input_blocks.{number}.0"
            places[f"down_blocks.{i}.attentions.{j}"] = f"input_blocks.{number}.1"
            number += 1
        if i < levels - 1:
            places[f"down_blocks.{i}.downsamplers.0.conv"] = f"input_blocks.{number}.0.op"
            number += 1
    number = 0
    for i in range(levels):
        for j in range(layers[levels - 1 - i] + 1):
            places[f"up_blocks.{i}.resnets.{j}"] = f"output_blocks.{number}.0"
            places[f"up_blocks.{i}.attentions.{j}"] = f"output_blocks.{number}.1"
            number += 1
        slot = 2 if config["up_block_types"][i].startswith("CrossAttn") else 1
        places[f"up_blocks.{i}.upsamplers.0.conv"] = f"output_blocks.{number - 1}.{slot}.conv"
    return places


def unet_name(name, places):
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        module = ".".join(parts[:count])
        if module in places:
            rest = parts[count:]
            if ".resnets." in module:
                rest[0] = RESNET[rest[0]]
            return ".".join([places[module], *rest])
    sys.exit(f"no place for {name}")


def vae_tensor(name, value, levels):
    name = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets", lambda m: f"up.{levels - 1 - int(m[1])}.block", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name).replace("mid_block.", "mid.")
    for ours, theirs in (ATTENTION | {"conv_norm_out": "norm_out", "conv_shortcut": "nin_shortcut"}).items():
        name = name.replace(ours, theirs)
    pointwise = ".attn_1." in name and value.ndim == 2
    return name, value[:, :, None, None] if pointwise else value


def open_clip(tensors):
    """Text encoder 2 under OpenCLIP's names: q, k and v in one matrix, the projection transposed."""
    import torch

    out = {}
    for name, value in tensors.items():
        layer = re.match(r"text_model\.encoder\.layers\.(\d+)\.(.*)", name)
        if name == "text_projection.weight":
            out["text_projection"] = value.T.contiguous()
        elif not layer:
            name = name.replace("text_model.embeddings.token_embedding", "token_embedding")
            name = name.replace("text_model.embeddings.position_embedding.weight", "positional_embedding")
            out[name.replace("text_model.final_layer_norm", "ln_final")] = value
        else:
            block, rest = f"transformer.resblocks.{layer[1]}.", layer[2]
            query = re.match(r"self_attn\.q_proj\.(weight|bias)", rest)
            if query:
                three = [tensors[name.replace("q_proj", f"{which}_proj")] for which in "qkv"]
                out[f"{block}attn.in_proj_{query[1]}"] = torch.cat(three)
            elif not re.match(r"self_attn\.[kv]_proj", rest):
                for ours, theirs in OPEN_CLIP.items():
                    rest = rest.replace(ours, theirs)
                out[block + rest] = value
    return out


def write(folder, file):
    from safetensors.torch import load_file, save_file

    def tensors(part):
        # A variant lies beside the plain files, or alone.
        files = sorted((folder / part).glob("*.safetensors"))
        plain = [path for path in files if ".fp16" not in path.name]
        return {name: value for path in plain or files for name, value in load_file(path).items()}

    def config(part):
        return json.loads((folder / part / "config.json").read_text())

    places = unet_places(config("unet"))
    out = {f"model.diffusion_model.{unet_name(name, places)}": value for name, value in tensors("unet").items()}
    levels = len(config("vae")["block_out_channels"])
    for name, value in tensors("vae").items():
        name, value = vae_tensor(name, value, levels)
        out[f"first_stage_model.{name}"] = value
    out |= {f"conditioner.embedders.0.transformer.{name}": value for name, value in tensors("text_encoder").items()}
    out |= {f"conditioner.embedders.1.model.{name}": value for name, value in open_clip(tensors("text_encoder_2")).items()}
    save_file({name: value.contiguous() for name, value in out.items()}, file)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
