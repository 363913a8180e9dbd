#!/usr/bin/env python3
"""Record what diffusers' schedulers make of fixed model outputs and fixed noise, for the tests of models/sdxl.

    pip install torch diffusers safetensors numpy
    python tools/record-sdxl/schedulers.py        # from the repository's root

Writes models/sdxl/tests/fixtures/schedulers/cases.json (each case's scheduler and change of SDXL's own configuration) and
recorded.safetensors: `output.I`, `noise.I` and `first`, which all cases share; of each case and number of steps `timesteps`, `sigmas`, `init` (the first
noise's factor), `input` (of the last call, scaled) and `states` (after every call of 6 steps, after the last one of others).
"""
import importlib
import json
import sys
from pathlib import Path

import diffusers
import torch
from safetensors.torch import save_file

BASE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "trained_betas": None,
        "prediction_type": "epsilon", "timestep_spacing": "leading", "steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False}
V, TRAILING, LINSPACE, KARRAS = {"prediction_type": "v_prediction"}, {"timestep_spacing": "trailing"}, {"timestep_spacing": "linspace"}, {"use_karras_sigmas": True}
ZERO = {**V, **TRAILING, "rescale_betas_zero_snr": True}
SIGMA_MIN = {"final_sigmas_type": "sigma_min"}
SDE = {"algorithm_type": "sde-dpmsolver++"}
CASES = {
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}, [{}, V, TRAILING, LINSPACE, ZERO]),
    "euler": ("EulerDiscreteScheduler", {}, [SIGMA_MIN, {**KARRAS, **TRAILING}]),
    "heun": ("HeunDiscreteScheduler", {}, [{}, V, TRAILING, LINSPACE, KARRAS, {"clip_sample": True, "clip_sample_range": 1.5}]),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}, [{}, V, KARRAS, {"solver_type": "heun"}, {"solver_order": 3}, {"solver_order": 1}, {"lower_order_final": False},
                                                     {"euler_at_final": True, **SIGMA_MIN}, SIGMA_MIN, {"solver_order": 3, **SIGMA_MIN}, {**KARRAS, **SIGMA_MIN}, ZERO]),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", SDE, [{}, V, KARRAS, TRAILING, {"solver_type": "heun"}, {"solver_order": 3}, {"solver_order": 1},
                                                          SIGMA_MIN, {"solver_order": 3, **SIGMA_MIN}, ZERO]),
    "unipc": ("UniPCMultistepScheduler", {}, [{}, V, TRAILING, LINSPACE, KARRAS, {"solver_type": "bh1", **SIGMA_MIN}, {"solver_type": "midpoint"}, {"solver_order": 3}, {"solver_order": 1},
                                              {"disable_corrector": [0, 2]}, SIGMA_MIN, {"lower_order_final": False, "solver_order": 3, **SIGMA_MIN}, ZERO]),
    "tcd": ("TCDScheduler", {}, [{}, V, ZERO]),
    "lcm": ("LCMScheduler", {}, [V]),
}
SHAPE, STEPS, LONGEST = (1, 2, 3, 4), (1, 2, 6, 20), 40

torch.set_num_threads(1)
torch.set_grad_enabled(False)


def run(scheduler, steps, shared):
    drawn = iter(range(LONGEST))
    module = importlib.import_module(type(scheduler).__module__)
    module.randn_tensor = lambda shape, **_: shared[f"noise.{next(drawn)}"].clone()
    scheduler.set_timesteps(steps)
    out = {"timesteps": scheduler.timesteps.to(torch.float64), "init": torch.as_tensor(scheduler.init_noise_sigma, dtype=torch.float32)}
    if type(scheduler).__name__ not in ("TCDScheduler", "LCMScheduler"):
        out["sigmas"] = scheduler.sigmas.to(torch.float32)
    latents, states = shared["first"] * scheduler.init_noise_sigma, []
    extra = {"eta": 0.3} if isinstance(scheduler, diffusers.TCDScheduler) else {}
    for i, t in enumerate(scheduler.timesteps):
        out["input"] = scheduler.scale_model_input(latents, t).clone()
        latents = scheduler.step(shared[f"output.{i}"], t, latents, return_dict=False, **extra)[0]
        states.append(latents.clone())
    out["states"] = torch.stack(states if steps == 6 else states[-1:])
    assert torch.isfinite(out["states"]).all()
    return out


def main(root):
    random = torch.Generator().manual_seed(20261130)
    shared = {"first": torch.randn(SHAPE, generator=random)}
    for i in range(LONGEST):
        shared[f"output.{i}"], shared[f"noise.{i}"] = torch.randn(SHAPE, generator=random), torch.randn(SHAPE, generator=random)
    tensors, cases = dict(shared), []
    for kind, (class_name, own, changes) in CASES.items():
        for change in changes:
            number, change = len(cases), {**own, **change}
            cases.append({"scheduler": kind, "change": change})
            for steps in STEPS:
                scheduler = getattr(diffusers, class_name).from_config({**BASE, **change})
                for key, value in run(scheduler, steps, shared).items():
                    tensors[f"{number}.{steps}.{key}"] = value.contiguous()
    target = root / "models/sdxl/tests/fixtures/schedulers"
    target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target / "recorded.safetensors")
    lines = ",\n".join(json.dumps(case) for case in cases)
    versions = json.dumps({"diffusers": diffusers.__version__, "torch": torch.__version__})
    text = f'{{"versions": {versions}, "base": {json.dumps(BASE)}, "steps": {json.dumps(STEPS)}, "cases": [\n{lines}\n]}}\n'
    (target / "cases.json").write_text(text)
    print(f"{len(cases)} cases, {(target / 'recorded.safetensors').stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[2])
