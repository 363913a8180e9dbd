"""Measures JPEG bytes to face embeddings: OpenCV, NumPy and Python's ONNX Runtime against laioncele-face on the same
photos in the same minutes, pass by pass in turn.

    bench.py EMBED_PHOTOS_PROGRAM FACE_MODELS [PASSES]

Photos are made here: rendered people of the embedded world in a noisy scene, at the sizes that the web has. Prints photos
per second of one core by size, the ratio, how it grows with the cores, and what differs in the faces found.
"""

import json
import os
import sys
import tempfile

import cv2
import numpy as np
import onnxruntime as ort

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "..", "tools", "record-face")]
import measure  # noqa: E402
from record import LEVELS, MEAN_BGR, TEMPLATE, overlap, session, similarity_transform, warp  # noqa: E402

PEOPLE = os.path.join(measure.ROOT, "manifests", "mini", "references")
# Width, height, and the person's height in the photo.
SIZES = {"640 x 480": (640, 480, 0.7), "1280 x 960": (1280, 960, 0.6), "2400 x 1800": (2400, 1800, 0.6), "4000 x 3000": (4000, 3000, 0.5)}


def photo(person, width, height, share, chance):
    """A person before clouds of several sizes, with a sensor's noise, so that it packs like a photo."""
    scene = np.full((height, width, 3), chance.uniform(60, 180, 3), np.float32)
    for cells in (3, 9, 27, 81):
        clouds = chance.normal(0, 60 / cells**0.5, (cells * 3 // 4 + 1, cells + 1, 3)).astype(np.float32)
        scene += cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC)
    tall = int(height * share)
    wide = int(tall * person.shape[1] / person.shape[0])
    left, top = (int(chance.uniform(0, room)) for room in (width - wide, height - tall))
    scene[top : top + tall, left : left + wide] = cv2.resize(person, (wide, tall), interpolation=cv2.INTER_CUBIC)
    noise = chance.normal(0, 4, (height, width, 1)).astype(np.float32)
    return np.clip(scene + noise, 0, 255).astype(np.uint8)


def write_photos(folder, reference):
    """Files by size, of the people whose face is found at first sight in each: the further looks, which cost as much
    again, are the same networks on both sides. The same for every run."""
    groups = [[] for _ in SIZES]
    for k, person in enumerate(sorted(os.listdir(PEOPLE))):
        portrait, files = cv2.imread(os.path.join(PEOPLE, person)), []
        for name, size in SIZES.items():
            picture = photo(portrait, *size, np.random.default_rng(k))
            files.append(os.path.join(folder, f"{name}-{k}.jpg".replace(" ", "")))
            # 4:2:0, OpenCV's and most cameras' default.
            cv2.imwrite(files[-1], picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
        if all(len(list(reference.faces(open(file, "rb").read()))) == 1 for file in files):
            for group, file in zip(groups, files):
                group.append(file)
    return groups


class Reference:
    """The pipeline of `tools/record-face` without its loops: anchors kept by size, all candidates decoded at once."""

    def __init__(self, folder):
        names = "retinaface_mobilenet025_dynamic", "faceplugin_fr_feature_512"
        self.detector, self.recognizer = (session(os.path.join(folder, f"{n}.onnx")) for n in names)
        self.anchors = {}

    def anchors_of(self, h, w):
        if (h, w) not in self.anchors:
            rows = []
            for stride, sizes in LEVELS:
                yy, xx = np.mgrid[0 : -(-h // stride), 0 : -(-w // stride)]
                centre = np.repeat(np.stack([(xx + 0.5) * stride, (yy + 0.5) * stride], -1).reshape(-1, 1, 2), 2, 1)
                side = np.broadcast_to(np.array(sizes, float)[:, None], centre.shape[:1] + (2, 1))
                rows.append(np.concatenate([centre, side], -1).reshape(-1, 3))
            self.anchors[h, w] = np.concatenate(rows)
        return self.anchors[h, w]

    def detect(self, bgr):
        blob = cv2.dnn.blobFromImage(bgr, mean=MEAN_BGR)
        loc, conf, marks = (o[0] for o in self.detector.run(None, {"input": blob}))
        sure = np.flatnonzero(conf[:, 1] >= 0.6)
        sure = sure[np.argsort(-conf[sure, 1], kind="stable")]
        anchors = self.anchors_of(*bgr.shape[:2])[sure]
        centre, side = anchors[:, :2], anchors[:, 2:]
        middle = centre + loc[sure, :2] * 0.1 * side
        half = side * np.exp(loc[sure, 2:] * 0.2) / 2
        boxes = np.concatenate([middle - half, middle + half], 1)
        marks = centre[:, None] + marks[sure].reshape(-1, 5, 2) * 0.1 * side[:, None]
        kept = []
        for i in range(len(sure)):
            if all(overlap(boxes[i], boxes[k]) <= 0.4 for k in kept):
                kept.append(i)
        return boxes[kept], marks[kept]

    def faces(self, data):
        """(box, embedding) of each face."""
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        h, w = bgr.shape[:2]
        factor = min(1.0, 640 / max(h, w))
        working = bgr if factor == 1.0 else cv2.resize(bgr, (round(w * factor), round(h * factor)), interpolation=cv2.INTER_AREA)
        boxes, marks = self.detect(working)
        for box, mark in zip(boxes / factor, marks / factor):
            aligned = warp(bgr, similarity_transform(mark, TEMPLATE))
            blob = cv2.dnn.blobFromImage(aligned, 1 / 128, mean=(127, 127, 127))
            vector = self.recognizer.run(None, {"input": blob})[0][0]
            yield box, vector / np.linalg.norm(vector)


def reference_worker(folder, listing):
    """The reference under the protocol of the example `embed_photos`."""
    cv2.setNumThreads(1)
    nets = Reference(folder)
    groups = [[open(file, "rb").read() for file in files] for files in json.load(open(listing))]

    def answer(order):
        command, argument = order.split()
        if command == "dump":
            found = [[(b.tolist(), v.tolist()) for b, v in nets.faces(data)] for group in groups for data in group]
            json.dump(found, open(argument, "w"))
            return {}
        count, report = measure.clocked(lambda: sum(len(list(nets.faces(data))) for data in groups[int(argument)]))
        return report | {"faces": count}

    measure.serve(answer)


class Worker(measure.Worker):
    """A worker with its best seconds for each group of photos."""

    def __init__(self, name, command):
        super().__init__(name, command, OMP_NUM_THREADS="1")
        self.best = {}

    def do_pass(self, group):
        report = self.ask(f"pass {group}")
        for clock in ("wall", "busy"):
            key = group, clock
            self.best[key] = min(report[clock], self.best.get(key, report[clock]))

    def seconds(self, clock, groups):
        return sum(self.best[group, clock] for group in groups)


def compare(dumps):
    """Photos with another number of faces, and the lowest cosine of the others' embeddings."""
    other, lowest = 0, 1.0
    for ours, theirs in zip(*(json.load(open(dump)) for dump in dumps), strict=True):
        if len(ours) != len(theirs):
            other += 1
            continue
        for box, vector in ours:
            same = max(theirs, key=lambda face: overlap(np.array(box), np.array(face[0])))
            lowest = min(lowest, float(np.dot(vector, same[1])))
    return other, lowest


def report(workers, groups, count, cores):
    reference, one, every = workers
    print(f"{'photos':>14} {'Python':>9} {'laioncele':>10} {'ratio':>6} {f'on {cores} cores':>11} {'of linear':>10}")
    print(f"{'':14} {'per core and second':>20} {'':6} {'per second':>11}")
    for name, chosen in [*((name, [k]) for k, name in enumerate(groups)), ("all", range(len(groups)))]:
        photos = count * len(chosen)
        theirs, ours = (photos / w.seconds("busy", chosen) for w in (reference, one))
        # A pass on several threads does the photos as many times.
        together = photos * cores / every.seconds("wall", chosen)
        linear = one.seconds("wall", chosen) / every.seconds("wall", chosen)
        print(f"{name:>14} {theirs:9.1f} {ours:10.1f} {ours / theirs:6.2f} {together:11.1f} {linear:10.0%}")


def main(program, folder, passes=5):
    passes, cores = int(passes), len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as scratch:
        groups = write_photos(scratch, Reference(folder))
        listing = os.path.join(scratch, "photos.json")
        json.dump(groups, open(listing, "w"))
        pixels = [np.prod(SIZES[name][:2]) for name in SIZES]
        bits = [8 * sum(map(os.path.getsize, files)) / len(files) / p for files, p in zip(groups, pixels)]
        workers = [
            Worker("Python", [sys.executable, __file__, "--reference", folder, listing]),
            Worker("laioncele", [program, folder, listing, "1"]),
            Worker("laioncele, all cores", [program, folder, listing, str(cores)]),
        ]
        dumps = [os.path.join(scratch, name) for name in ("reference", "ours")]
        for worker, dump in zip(workers, dumps):
            worker.ask(f"dump {dump}")
        for _ in range(passes):
            for group in range(len(groups)):
                for worker in workers:
                    worker.do_pass(group)
        other, lowest = compare(dumps)
    count = len(groups[0])
    print(f"{count} photos of each size, {min(bits):.1f} to {max(bits):.1f} bits a pixel, best of {passes} passes in turn\n")
    report(workers, SIZES, count, cores)
    print(f"\nphotos with another number of faces: {other}; lowest cosine to the reference's embedding: {lowest:.4f}")


if __name__ == "__main__":
    if sys.argv[1] == "--reference":
        reference_worker(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
