"""Records what RetinaFace, the recognizer and the age/gender network see in rendered pictures, for the parity test of models/face.

    pip install numpy==2.4.6 opencv-python-headless==5.0.0.93 onnxruntime==1.32.0
    python record.py PORTRAITS.npy PHOTOS.npy ../../manifests/mini/face ../../models/face/tests/fixtures

PORTRAITS and PHOTOS are uint8 arrays [people, pictures, 128, 128, 3] of renders of invented people (training/data.py makes them).
Everything between the networks is written here again with NumPy and OpenCV, and is the reference for the Rust.
"""
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
MEAN_BGR = (104, 117, 123)
LEVELS = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def planes(picture, mean, scale=1.0):
    return ((picture.astype(np.float32) - np.float32(mean)) / np.float32(scale)).transpose(2, 0, 1)[None].copy()


def similarity_transform(src, dst):
    """Umeyama: rotation, one scale, shift; 2 x 3."""
    ms, md = src.mean(0), dst.mean(0)
    s, d = src - ms, dst - md
    u, w, vt = np.linalg.svd(d.T @ s / len(src))
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    r = u @ np.diag(sign) @ vt
    k = (w * sign).sum() / s.var(0).sum()
    return np.hstack([k * r, (md - k * r @ ms)[:, None]])


def warp(bgr, matrix):
    """112 x 112; a picture much larger than that is averaged down by a whole factor first."""
    scale = np.hypot(matrix[0, 0], matrix[1, 0])
    if scale < 0.25:
        times = int(0.5 / scale)
        h, w = bgr.shape[:2]
        bgr = cv2.resize(bgr, (w // times, h // times), interpolation=cv2.INTER_AREA)
        matrix = matrix * np.array([[times, times, 1.0]])
    return cv2.warpAffine(bgr, matrix, (112, 112), flags=cv2.INTER_LINEAR)


class Faces:
    def __init__(self, folder):
        names = "retinaface_mobilenet025_dynamic", "faceplugin_fr_feature_512", "face_api_age_gender"
        self.detector, self.recognizer, self.gender = (session(Path(folder) / f"{n}.onnx") for n in names)

    def candidates(self, bgr, threshold=0.6, max_overlap=0.4):
        """Boxes, landmarks and scores at the size given, best score first."""
        h, w = bgr.shape[:2]
        loc, conf, marks = (o[0] for o in self.detector.run(None, {"input": planes(bgr, MEAN_BGR)}))
        anchors = []
        for stride, sizes in LEVELS:
            yy, xx = np.mgrid[0 : -(-h // stride), 0 : -(-w // stride)]
            centre = np.repeat(np.stack([(xx + 0.5) * stride, (yy + 0.5) * stride], -1).reshape(-1, 1, 2), 2, 1)
            size = np.broadcast_to(np.array(sizes, float)[:, None], centre.shape[:1] + (2, 1))
            anchors.append(np.concatenate([centre, size], -1).reshape(-1, 3))
        anchors, found = np.concatenate(anchors), []
        for i in np.argsort(-conf[:, 1], kind="stable"):
            if conf[i, 1] < threshold:
                break
            (x, y, side), o = anchors[i], loc[i].astype(float)
            centre, half = np.array([x, y]) + o[:2] * 0.1 * side, side * np.exp(o[2:] * 0.2) / 2
            box = np.concatenate([centre - half, centre + half])
            if all(overlap(box, f[0]) <= max_overlap for f in found):
                found.append((box, np.array([x, y]) + marks[i].reshape(5, 2) * 0.1 * side, float(conf[i, 1])))
        return found

    def detect(self, bgr):
        """(box, landmarks, score) in pixels of the picture, largest area x score first, and the picture to align in."""
        h, w = bgr.shape[:2]
        longest = max(h, w)
        target = min(max(longest, 320), 640)
        size = tuple(max(1, int(np.floor(v * target / longest + 0.5))) for v in (w, h))
        how = cv2.INTER_CUBIC if target > longest else cv2.INTER_AREA
        working = bgr if target == longest else cv2.resize(bgr, size, interpolation=how)
        factor = np.array([size[0] / w, size[1] / h])
        found = self.candidates(working)
        if not found:
            small = cv2.resize(working, (size[0] // 2, size[1] // 2), interpolation=cv2.INTER_AREA)
            corner = np.array([(size[0] - small.shape[1]) // 2, (size[1] - small.shape[0]) // 2])
            canvas = np.full_like(working, MEAN_BGR)
            canvas[corner[1] : corner[1] + small.shape[0], corner[0] : corner[0] + small.shape[1]] = small
            times = np.array(size) / np.array(small.shape[1::-1])
            found = [(((b.reshape(2, 2) - corner) * times).reshape(4), (k - corner) * times, s) for b, k, s in self.candidates(canvas)]
        found = [((b.reshape(2, 2) / factor).reshape(4), k / factor, s) for b, k, s in found]
        found.sort(key=lambda f: -(f[0][2] - f[0][0]) * (f[0][3] - f[0][1]) * f[2])
        return found, (working, factor) if target > longest else (bgr, np.ones(2))

    def faces(self, rgb):
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        found, (source, factor) = self.detect(bgr)
        for box, marks, score in found:
            aligned = warp(source, similarity_transform(marks * factor, TEMPLATE))
            e = self.recognizer.run(None, {"input": planes(aligned, 127.0, 128.0)})[0][0].astype(float)
            side = max(box[2] - box[0], box[3] - box[1])
            x, y = (box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2
            a = 112 / side
            crop = warp(bgr, np.array([[a, 0, (0.5 - x) * a - 0.5], [0, a, (0.5 - y) * a - 0.5]]))
            age, gender = self.gender.run(None, {"input": planes(crop[..., ::-1], 0.0)})
            yield dict(bbox=numbers(box), landmarks=[numbers(k) for k in marks], score=score, vector=numbers(e / np.linalg.norm(e), 6),
                       age=float(age[0, 0]), male=float(gender[0, 0])), aligned


def numbers(values, digits=4):
    return [round(float(v), digits) for v in values]


def overlap(a, b):
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def enlarged(picture, side):
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_LINEAR)


def pictures(portraits, photos):
    """(file name, picture): two portraits of one person, one of another, photos, a close-up, a large picture of two, none."""
    yield "first-a.png", portraits[0, 0]
    yield "first-b.png", portraits[0, 1]
    yield "second-a.png", portraits[1, 0]
    yield "first-photo.png", photos[0, 0]
    yield "second-photo.png", photos[1, 1]
    yield "close-up.png", portraits[11, 0][44:101, 43:91]
    two = np.full((420, 800, 3), (150, 160, 175), np.uint8)
    two[30:390, 20:380], two[100:340, 480:720] = enlarged(portraits[0, 0], 360), enlarged(portraits[1, 0], 240)
    yield "two.png", two
    yield "nobody.png", np.full((60, 200, 3), (90, 140, 60), np.uint8)


def resizings(rng):
    """OpenCV's own numbers for tiny pictures, RGB rows flattened."""
    for (w, h), (to_w, to_h), how in [((9, 7), (20, 15), "cubic"), ((5, 12), (16, 16), "cubic"), ((31, 17), (13, 7), "area"), ((24, 16), (8, 4), "area")]:
        picture = rng.integers(0, 256, (h, w, 3), np.uint8)
        out = cv2.resize(picture, (to_w, to_h), interpolation=cv2.INTER_CUBIC if how == "cubic" else cv2.INTER_AREA)
        yield dict(how=how, size=[w, h], pixels=picture.ravel().tolist(), to=[to_w, to_h], expected=out.ravel().tolist())


if __name__ == "__main__":
    portraits, photos, models, out = (np.load(sys.argv[1], mmap_mode="r"), np.load(sys.argv[2], mmap_mode="r"), *sys.argv[3:5])
    out, nets, recorded = Path(out), Faces(models), {}
    for name, picture in pictures(portraits, photos):
        cv2.imwrite(str(out / name), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
        seen = list(nets.faces(picture))
        recorded[name] = [face for face, _ in seen]
        print(name, [(f["bbox"], round(f["score"], 3), round(f["male"], 2)) for f in recorded[name]])
        if name == "first-a.png":
            cv2.imwrite(str(out / "aligned.png"), seen[0][1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    (out / "faces.json").write_text(json.dumps(recorded) + "\n")
    (out / "resizings.json").write_text(json.dumps(list(resizings(np.random.default_rng(5)))) + "\n")
