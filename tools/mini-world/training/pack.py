"""Puts trained parts into the shipped folder, in f16: `pack.py unet=work/unet vae=work/vae image_encoder=work/towers/image_encoder ...`. Only the
weights are copied: architecture and configuration must be those of the folder."""
import json
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

from common import SHIPPED

FREE = ("_name_or_path", "_diffusers_version", "transformers_version", "dtype", "torch_dtype")


def shape(config):
    return {k: v for k, v in json.loads(config.read_text()).items() if k not in FREE}


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        part, _, source = argument.partition("=")
        target = SHIPPED / part
        (file,) = target.glob("*.safetensors")
        old, new = load_file(file), load_file(Path(source) / file.name)
        assert {k: v.shape for k, v in old.items()} == {k: v.shape for k, v in new.items()}, f"{part}: another architecture"
        different = {k for k, v in shape(target / "config.json").items() if shape(Path(source) / "config.json").get(k, v) != v}
        assert not different, f"{part}: another configuration: {sorted(different)}"
        save_file({k: v.half() if v.is_floating_point() else v for k, v in new.items()}, file, metadata=dict(format="pt"))
        print(part, file.stat().st_size, "bytes")
