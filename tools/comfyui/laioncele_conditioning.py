"""A ComfyUI node that reads what `laioncele encoder conditioning` writes.

Copy this file to ComfyUI/custom_nodes and the .safetensors file to ComfyUI/input. The node "LaionCele person" gives the
positive and the negative conditioning of a KSampler; the checkpoint may be any fine-tune of the SDXL that the run used.
"""
import os

from safetensors.torch import load_file


def conditionings(path):
    """Both conditionings as ComfyUI passes them on: [[embeddings, {"pooled_output": pooled}]]."""
    tensors = load_file(path)
    return tuple(
        [[tensors[embeds], {"pooled_output": tensors[pooled]}]]
        for embeds, pooled in (("cond", "pooled_output"), ("uncond", "uncond_pooled_output"))
    )


class LaionCelePerson:
    CATEGORY = "conditioning"
    FUNCTION = "load"
    RETURN_TYPES = ("CONDITIONING", "CONDITIONING")
    RETURN_NAMES = ("positive", "negative")

    @classmethod
    def INPUT_TYPES(cls):
        import folder_paths

        folder = folder_paths.get_input_directory()
        return {"required": {"file": (sorted(f for f in os.listdir(folder) if f.endswith(".safetensors")),)}}

    def load(self, file):
        import folder_paths

        return conditionings(folder_paths.get_annotated_filepath(file))


NODE_CLASS_MAPPINGS = {"LaionCelePerson": LaionCelePerson}
NODE_DISPLAY_NAME_MAPPINGS = {"LaionCelePerson": "LaionCele person"}
