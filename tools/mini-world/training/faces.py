"""The real face networks. `Judge` runs them through ONNX Runtime, like models/face. `Critic` is the same chain in torch,
so that a network can be trained through it."""
import cv2
import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from onnx2torch import convert

from common import FACE_NETWORKS

DETECTOR, RECOGNIZER = (str(FACE_NETWORKS / f"{n}.onnx") for n in ("retinaface_mobilenet025_dynamic", "faceplugin_fr_feature_512"))
TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
MEAN_BGR = (104.0, 117.0, 123.0)
EDGE = 320  # side of the detector's input
LEVELS = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))


def priors():
    """Anchors (centre, size) as shares of the image, in the order of the detector's outputs."""
    out = []
    for stride, sizes in LEVELS:
        yy, xx = np.mgrid[0 : EDGE // stride, 0 : EDGE // stride]
        centre = np.repeat(np.stack([(xx + 0.5) * stride / EDGE, (yy + 0.5) * stride / EDGE], -1).reshape(-1, 1, 2), 2, 1)
        size = np.broadcast_to(np.array([[m / EDGE, m / EDGE] for m in sizes]), centre.shape)
        out.append(np.concatenate([centre, size], -1).reshape(-1, 4))
    return np.concatenate(out)


PRIORS = priors()


def similarity_transform(src, dst=TEMPLATE):
    """Umeyama: rotation, one scale, shift; 2 x 3."""
    ms, md = src.mean(0), dst.mean(0)
    s, d = src - ms, dst - md
    u, w, vt = np.linalg.svd(d.T @ s / len(src))
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    r = u @ np.diag(sign) @ vt
    k = (w * sign).sum() / s.var(0).sum()
    return np.hstack([k * r, (md - k * r @ ms)[:, None]])


def place(best, marks):
    """Five landmarks in pixels of the detector's input, from an anchor's number and its ten numbers."""
    p = PRIORS[best]
    return (p[:2] + marks.reshape(5, 2) * 0.1 * p[2:]) * EDGE


def count_faces(conf, loc, threshold=0.6, overlap=0.4):
    """Greedy non-maximum suppression."""
    keep = np.flatnonzero(conf >= threshold)
    keep = keep[np.argsort(-conf[keep])]
    p = PRIORS[keep]
    centre, size = p[:, :2] + loc[keep, :2] * 0.1 * p[:, 2:], p[:, 2:] * np.exp(loc[keep, 2:] * 0.2)
    low, high = centre - size / 2, centre + size / 2
    area, taken = size.prod(1), []
    for i in range(len(keep)):
        shared = [np.clip(np.minimum(high[i], high[j]) - np.maximum(low[i], low[j]), 0, None).prod() for j in taken]
        if all(s / (area[i] + area[j] - s) <= overlap for s, j in zip(shared, taken)):
            taken.append(i)
    return len(taken)


class Judge:
    def __init__(self, threads=1):
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 4
        self.detector, self.recognizer = (ort.InferenceSession(f, options, providers=["CPUExecutionProvider"]) for f in (DETECTOR, RECOGNIZER))

    def detect(self, rgb):
        """(faces found, the best one's score, its landmarks, the enlarged image)"""
        bgr = cv2.resize(np.ascontiguousarray(rgb[..., ::-1]), (EDGE, EDGE), interpolation=cv2.INTER_CUBIC)
        x = (bgr.astype(np.float32) - np.float32(MEAN_BGR)).transpose(2, 0, 1)[None].copy()
        loc, conf, marks = (o[0] for o in self.detector.run(None, {"input": x}))
        best = conf[:, 1].argmax()
        return count_faces(conf[:, 1], loc), float(conf[best, 1]), place(best, marks[best]), bgr

    def embed_at(self, bgr, landmarks):
        face = cv2.warpAffine(bgr, similarity_transform(landmarks), (112, 112), flags=cv2.INTER_LINEAR)
        e = self.recognizer.run(None, {"input": ((face.astype(np.float32) - 127) / 128).transpose(2, 0, 1)[None]})[0][0]
        return e / np.linalg.norm(e)

    def embed(self, rgb):
        """512 numbers of unit length, or None unless exactly one face is found."""
        found, _, landmarks, bgr = self.detect(rgb)
        return self.embed_at(bgr, landmarks) if found == 1 else None


def load_onnx(path):
    """Initializers that go through an Identity node are given their own name: onnx2torch looks for them there."""
    model = onnx.load(path)
    graph, initializers, nodes = model.graph, {i.name: i for i in model.graph.initializer}, []
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in initializers:
            copy = onnx.TensorProto()
            copy.CopyFrom(initializers[node.input[0]])
            copy.name = node.output[0]
            graph.initializer.append(copy)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


class Critic:
    """Takes images [n, 3, 128, 128] in [-1, 1], RGB."""

    def __init__(self):
        self.detector, self.recognizer = (convert(load_onnx(f)).eval().requires_grad_(False) for f in (DETECTOR, RECOGNIZER))
        ys, xs = torch.meshgrid(torch.arange(112.0), torch.arange(112.0), indexing="ij")
        self.grid = torch.stack([xs, ys, torch.ones_like(xs)], -1).reshape(-1, 3)

    def view(self, x):
        """Enlarged, bytes' range, BGR."""
        x = (x.clamp(-1, 1).flip(1) + 1) * 127.5
        return F.interpolate(x, size=(EDGE, EDGE), mode="bicubic", align_corners=False).clamp(0, 255)

    def scores(self, view):
        """Every anchor's probability of a face [n, anchors] (with gradient) and the landmarks of each image's best one [n, 5, 2] (without)."""
        _, conf, marks = self.detector(view - torch.tensor(MEAN_BGR)[:, None, None])
        conf = conf[..., 1]
        best = conf.argmax(1)
        return conf, np.stack([place(int(b), m[b].detach().numpy()) for b, m in zip(best, marks)])

    def embed(self, view, landmarks):
        """Unit embeddings of the faces at these landmarks (in pixels of the enlarged image)."""
        back = []
        for k in landmarks:
            m = np.vstack([similarity_transform(np.asarray(k, np.float64)), [0, 0, 1]])
            back.append(np.linalg.inv(m)[:2])
        back = torch.tensor(np.stack(back), dtype=torch.float32)
        at = (self.grid @ back.transpose(1, 2)).reshape(len(view), 112, 112, 2)
        crop = F.grid_sample(view, (2 * at + 1) / EDGE - 1, mode="bilinear", padding_mode="zeros", align_corners=False)
        return F.normalize(self.embed_crop((crop - 127) / 128), dim=-1)

    def embed_crop(self, crop):
        # The graph's last reshape is for a batch of one: each image's 512 numbers are in a row all the same.
        return self.recognizer(crop).reshape(len(crop), 512)


def auc(positive, negative):
    x = np.concatenate([positive, negative])
    rank = x.argsort().argsort() + 1
    return (rank[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2) / len(positive) / len(negative)
