"""Table 2 of the paper on the embedded world: table2.py [STEPS [PEOPLE [FOLDER]]]

Runs the world's manifest in FOLDER/run if it has not run there, trains LoRA and U-Net on its LaionCele and on a second small
set, draws the same images with all five U-Nets and scores them side by side, into FOLDER/table2.md. What is there already is
not made again. LAIONCELE names the program.
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("LAIONCELE") or os.path.join(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"), "release/laioncele")
REFERENCES = ROOT / "manifests/mini/references"
PROMPTS = ["a portrait of a person", "a photo of a person wearing a hat", "a photo of a person outdoors"]
SEEDS = [0, 1]
# The paper's rate, 1e-5, moves nothing in so few steps.
RATES = {"lora": "1e-3", "unet": "1e-4"}
REFUSED = re.compile(r"(\S+) \(by (?:face|name): ([^,)]+)")


def laioncele(*arguments, check=True):
    ended = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    if check and ended.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}\n{ended.stderr}")
    return ended


class Trainings:
    def __init__(self, folder, steps):
        self.folder, self.steps = folder, steps
        self.run = folder / "run"

    def tune(self, what, dataset, name, people):
        """Trains; the pairs (person of the evaluation, person of the data set) that forbid it, else none."""
        print(f"training {name}", file=sys.stderr, flush=True)
        ended = laioncele(
            "finetune", "--output", self.run, "--what", what, "--dataset", dataset, "--into", self.folder / name,
            "--steps", self.steps, "--evaluation-people", people, "--save-as", "f32", "--batch", 4, "--resolution", 128,
            "--learning-rate", RATES[what], check=False,
        )
        pairs = REFUSED.findall(ended.stderr) if "people of the evaluation" in ended.stderr else []
        if ended.returncode and not pairs:
            sys.exit(ended.stderr)
        return pairs

    def image(self, system, person, prompt, seed):
        return f"images/{system}/{person}/prompt-{prompt:02}-seed-{seed}.png"

    def draw(self, system, shown, *model):
        print(f"drawing {system}", file=sys.stderr, flush=True)
        for photo in sorted(shown.iterdir()):
            into = (self.folder / self.image(system, photo.stem, 0, 0)).parent
            prompts = [argument for prompt in PROMPTS for argument in ("--prompt", prompt)]
            laioncele("generate", photo, "--output", self.run, "--into", into, "--images", len(SEEDS), "--overwrite", *prompts,
                      *model)

    def list_images(self, systems, shown):
        with open(self.folder / "systems.csv", "w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["system", "image", "person", "prompt", "seed"])
            for system in systems:
                for photo in sorted(shown.iterdir()):
                    for number, prompt in enumerate(PROMPTS):
                        for seed in SEEDS:
                            lines.writerow([system, self.image(system, photo.stem, number, seed), photo.stem, prompt, seed])


def choose(trainings, people):
    """Who is shown in the evaluation: the first references who are like nobody of LaionCele. The others are the small set,
    without those who are like somebody shown."""
    shown, small = trainings.folder / "shown", trainings.folder / "small"
    if small.exists():
        return shown, small
    alike = {person for person, _ in trainings.tune("lora", trainings.run / "laioncele", "laioncele-lora", REFERENCES)}
    photos = sorted(REFERENCES.glob("*.jpg"))
    free = [photo for photo in photos if photo.stem not in alike][:people]
    shutil.rmtree(shown, ignore_errors=True)
    shown.mkdir(parents=True)
    for photo in free:
        shutil.copy(photo, shown)
    others = [photo for photo in photos if photo not in free]
    while True:
        beside = trainings.folder / "small.new"
        for place in (beside, trainings.folder / "small-lora"):
            shutil.rmtree(place, ignore_errors=True)
        for photo in others:
            (beside / photo.stem).mkdir(parents=True)
            shutil.copy(photo, beside / photo.stem)
        pairs = trainings.tune("lora", beside, "small-lora", shown)
        if not pairs:
            beside.rename(small)
            return shown, small
        others = [photo for photo in others if photo.stem not in {person for _, person in pairs}]


def losses(folder, names):
    yield "| training | people | photos | steps | numbers | mean loss of the first 200 steps | of the last 200 | clipped |"
    yield "|---" * 8 + "|"
    for name in names:
        card = json.loads((folder / name / "card.json").read_text())
        cells = [name, card["people"], card["photos"], card["steps"], f"{card['parameters']:,}", f"{card['first_loss']:.4f}",
                 f"{card['last_loss']:.4f}", f"{card['clipped_steps']:.0%}"]
        yield "| " + " | ".join(map(str, cells)) + " |"


def main():
    given = sys.argv[1:]
    steps, people = (int(given[k]) if len(given) > k else default for k, default in ((0, 300), (1, 12)))
    folder = Path(given[2] if len(given) > 2 else ROOT / "table2").resolve()
    trainings = Trainings(folder, steps)
    folder.mkdir(parents=True, exist_ok=True)
    if not (trainings.run / "evaluation").exists():
        laioncele("run", "--stage", "all", "--manifest", ROOT / "manifests/mini.toml", "--output", trainings.run)
    shown, small = choose(trainings, people)
    systems = {"plain": []}
    for data, dataset in (("laioncele", trainings.run / "laioncele"), ("small", small)):
        for what in ("lora", "unet"):
            name = f"{data}-{what}"
            if trainings.tune(what, dataset, name, shown):
                sys.exit(f"people of {shown} are in {dataset}: delete {folder}")
            file = folder / name / ("pytorch_lora_weights.safetensors" if what == "lora" else "unet")
            systems[name] = [f"--{what}", file]
    for system, model in systems.items():
        trainings.draw(system, shown, *model)
    trainings.list_images(systems, shown)
    scored = laioncele("evaluate", "--output", trainings.run, "--systems", folder / "systems.csv", "--references", shown,
                       "--table", "2", "--paper", "--format", "markdown")
    text = scored.stdout + "\n" + "\n".join(losses(folder, [name for name in systems if name != "plain"])) + "\n"
    (folder / "table2.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
