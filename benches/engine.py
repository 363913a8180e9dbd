"""What the engine itself costs, and how it grows with the number of tasks: seconds of a task that has nothing to do (from its
spec to its record), of reading the ledger and planning when all is done, and the most memory that coordinator and workers
hold. Each task is a bucket without names.

    engine.py [BUCKETS ...]
"""

import os
import sys
import tempfile

import measure

MANIFEST = """[run]
seed = 1
buckets = {buckets}
sync = {sync}
[source]
path = "captions.csv"
[embedding_dims]
name_tokens = 8
name_channels = 128
face = 512
features = 128
[models.ner]
folder = "mini/ner/en_core_web_sm"
[models.sdxl]
folder = "mini/sdxl-mini"
[models.face]
detector = "mini/face/retinaface_mobilenet025_dynamic.onnx"
recognizer = "mini/face/faceplugin_fr_feature_512.onnx"
gender = "mini/face/face_api_age_gender.onnx"
[models.image_encoders]
first = "mini/sdxl-mini/image_encoder"
second = "mini/sdxl-mini/image_encoder_2"
[verify_portraits]
same_person = 0.5
[generate_samples]
references = "references"
"""
STAGES = "..encode-names"
# The steps that have a task for each bucket; of the others there are a few tasks.
STEPS = ("count-images", "encode-names")


def figures(buckets, sync):
    """Milliseconds of a task of each step; seconds of a run and of a plan with all done; peak bytes of the first run and
    of the plan."""
    with tempfile.TemporaryDirectory() as folder:
        manifest, output = os.path.join(folder, "manifest.toml"), os.path.join(folder, "run")
        os.symlink(os.path.join(measure.ROOT, "manifests", "mini"), os.path.join(folder, "mini"))
        with open(manifest, "w") as file:
            file.write(MANIFEST.format(buckets=buckets, sync=str(sync).lower()))
        with open(os.path.join(folder, "captions.csv"), "w") as file:
            file.write("url,caption\nhttps://pictures.example/1.jpg,Ada Lovelace at her desk\n")
        steps, _, peak = measure.run(manifest, output, "--stage", STAGES)
        each = [1e3 * step["seconds"] / step["ran"] for step in steps if step["step"] in STEPS]
        _, again, _ = measure.run(manifest, output, "--stage", STAGES)
        plan = measure.laioncele("plan", "--json", "--stage", STAGES, "--manifest", manifest, "--output", output)
        _, planned, plan_peak = measure.measured(plan)
        return [*each, again, planned, peak / 1e6, plan_peak / 1e6]


def main(*sizes):
    heads = [*(f"{step}, ms a task" for step in STEPS), "run again, s", "plan, s", "run, MB", "plan, MB"]
    print("  ".join([f"{'tasks':>8}", "sync ", *heads]))
    for sync in (True, False):
        before = None
        for buckets in sizes or (1000, 10000):
            row = figures(int(buckets), sync)
            cells = [f"{value:>{len(head)}.2f}" for value, head in zip(row, heads)]
            print("  ".join([f"{2 * int(buckets):>8}", f"{str(sync):5}", *cells]), flush=True)
            if before:
                growth = [f"{now / then:>{len(head) - 2}.1f} x" for now, then, head in zip(row, before, heads)]
                print("  ".join([" " * 8, " " * 5, *growth]), flush=True)
            before = row


if __name__ == "__main__":
    main(*sys.argv[1:])
