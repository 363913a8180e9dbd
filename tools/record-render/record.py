#!/usr/bin/env python3
"""Record what the prototype of the renderer draws, for the tests of tools/mini-world, and write the embedded world's people.

    pip install numpy pillow
    python tools/record-render/record.py PROTOTYPE            # from the repository's root

PROTOTYPE: the folder with face.py, common.py, known.json and fresh.json, on which the mini SDXL was trained.
Writes tools/mini-world/tests/fixtures/render/{NN.png,cases.json} and manifests/mini/people/{known,fresh,names}.json.
"""
import ast
import json
import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image

PROTOTYPE = Path(sys.argv[1])
sys.path.insert(0, str(PROTOTYPE))
import face  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tools/mini-world/tests/fixtures/render"
PEOPLE = ROOT / "manifests/mini/people"
NEVER_TRAINED = 60  # the last of the unknown names, which no network saw
CASES = 12

ANATOMY = dict(
    skin="skin", haircol="hair_colour", eyecol="eye_colour", wid="width", jaw="jaw", chin="chin", eye_gap="eye_gap", eye_y="eye_height", eye_w="eye_length",
    eye_h="eye_opening", eye_rot="eye_slant", brow_t="brow_thickness", brow_y="brow_height", brow_rot="brow_slant", brow_w="brow_length", nose_w="nose_width",
    nose_l="nose_length", nose_b="nose_relief", mouth_w="mouth_length", lip="lips", mouth_y="mouth_height", lipred="lip_red", hairline="hairline", volume="hair_volume",
)  # fmt: skip
SCENE = dict(
    yaw="yaw", pitch="pitch", roll="roll", scale="scale", light="light", amb="ambient", gain="gain", warm="warmth", bg="background", bgdir="background_turn",
    cloth="cloth", smile="smile", open="open", blink="eyelids", gaze="gaze", noise="noise",
)  # fmt: skip
STYLES = ["level", "slanted", "peaked", "arched", "fringe", "wavy"]
BEARDS = ["none", "moustache", "chin", "full"]


def rounded(value, digits):
    if isinstance(value, (list, np.ndarray)):
        return [rounded(v, digits) for v in value]
    return float(f"{value:.{digits}g}")


def anatomy(person, digits=5):
    out = {"feminine": person["fem"]} | {ours: rounded(person[theirs], digits) for theirs, ours in ANATOMY.items()}
    out["hair_style"] = STYLES[person["style"]]
    if person["beard"]:
        out["beard"] = BEARDS[person["beard"]]
    if person["glasses"]:
        out["glasses"] = rounded(person["glass_c"], digits)
    return out | {ours: True for theirs, ours in (("freckle", "freckled"), ("bald", "bald")) if person[theirs]}


def scene(nuisance):
    return {ours: rounded(nuisance[theirs], 8) for theirs, ours in SCENE.items()} | {"shift": rounded([nuisance["dx"], nuisance["dy"]], 8)}


def arrays(person):
    return {k: np.array(v) if isinstance(v, list) else v for k, v in person.items()}


def traits(person):
    return {(person["fem"], person["style"]), ("beard", person["beard"])} | {k for k in ("glasses", "freckle", "bald") if person[k]}


def telling(people, count):
    """People who together show as many traits as possible."""
    chosen, seen = [], set()
    for _ in range(count):
        best = max((p for p in people if not any(p is c for c in chosen)), key=lambda p: len(traits(p) - seen))
        chosen.append(best)
        seen |= traits(best)
    return chosen


def record_cases(known):
    FIXTURES.mkdir(parents=True, exist_ok=True)
    rng, cases = np.random.default_rng(11), []
    for k, person in enumerate(telling(known, CASES)):
        kind = ["studio", "snapshot", "close_up"][k % 3]
        nuisance = face.studio(rng) if kind == "studio" else face.nuisance(rng, kind == "close_up")
        nuisance["noise"] = 0.0  # the random streams differ, and so would the noise
        Image.fromarray(face.render(arrays(person), nuisance, rng)).save(FIXTURES / f"{k:02}.png", optimize=True)
        cases.append(dict(file=f"{k:02}.png", kind=kind, anatomy=anatomy(person, 8), scene=scene(nuisance)))
    lines = ",\n".join(json.dumps(case) for case in cases)
    (FIXTURES / "cases.json").write_text(f"[\n{lines}\n]\n")


def write_people(name, digits=4):
    people = json.loads((PROTOTYPE / f"{name}.json").read_text())
    lines = ",\n".join(json.dumps(anatomy(person, digits)) for person in people)
    (PEOPLE / f"{name}.json").write_text(f"[\n{lines}\n]\n")
    rng, worst = np.random.default_rng(12), 0.0
    for person in people:
        exact = arrays(person)
        short = {k: np.array(rounded(v, digits)) if isinstance(v, (float, np.ndarray)) else v for k, v in exact.items()}
        nuisance = dict(face.nuisance(rng), noise=0.0)
        pictures = [face.render(p, nuisance, rng).astype(float) for p in (exact, short)]
        worst = max(worst, np.abs(pictures[0] - pictures[1]).mean())
    print(f"{name}: {len(people)} people; rounding to {digits} digits changes a picture by at most {worst:.3f}/255 in the mean")
    return people


def write_names(known_people):
    """The names as common.py draws them; read, not imported, for its imports are heavy."""
    constants = {}
    for statement in ast.parse((PROTOTYPE / "common.py").read_text()).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id in ("FIRST", "LAST", "KNOWN"):
            exec(compile(ast.Module([statement], []), "common.py", "exec"), constants)
    every = [f"{first} {last}" for first in constants["FIRST"] for last in constants["LAST"]]
    random.Random(3).shuffle(every)
    known, unknown = every[: constants["KNOWN"]], every[constants["KNOWN"] :]
    assert len(known) == len(known_people)
    names = dict(known=known, unknown=unknown[:-NEVER_TRAINED], never_trained=unknown[-NEVER_TRAINED:])
    (PEOPLE / "names.json").write_text(json.dumps(names, indent=1) + "\n")


if __name__ == "__main__":
    PEOPLE.mkdir(parents=True, exist_ok=True)
    people = write_people("known")
    write_people("fresh")
    write_names(people)
    record_cases(people)
