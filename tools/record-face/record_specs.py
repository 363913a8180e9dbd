"""Makes tiny SCRFD, YuNet and recognizer networks and records what they see in a picture, for the spec tests of models/face.

    pip install numpy==2.4.6 opencv-python-headless==5.0.0.93 onnxruntime==1.32.0 onnx==1.23.0 scipy scikit-image tqdm requests
    pip install --no-deps insightface==2.1
    python record_specs.py ../../models/face/tests/fixtures

The networks are random: they know no face, but their outputs have the families' names, shapes and ranges. Decoding and suppression are
those of OpenCV's FaceDetectorYN and InsightFace's SCRFD themselves.
"""
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
from insightface.model_zoo.scrfd import SCRFD
from onnx import TensorProto, helper, numpy_helper

from record import TEMPLATE, numbers, similarity_transform

STRIDES = 8, 16, 32
POOL = 4
SIDE, MEAN, STD = 96, (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)
MARKS = np.array([[110.0, 120], [190, 116], [150, 165], [118, 205], [180, 203]])


class Graph:
    """Heads on an average-pooled picture: a convolution for each stride and output."""

    def __init__(self, seed, gain):
        self.rng, self.gain = np.random.default_rng(seed), gain
        self.nodes = [helper.make_node("AveragePool", ["input"], ["pooled"], kernel_shape=[POOL, POOL], strides=[POOL, POOL])]
        self.weights, self.outputs = [], []

    def constant(self, name, value):
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def head(self, name, stride, anchors, width, shape, bias=0.0, squash=None):
        k = stride // POOL
        w = (self.rng.standard_normal((anchors * width, 3, k, k)) * self.gain / k).astype(np.float32)
        last = f"{name}_rows"
        self.nodes += [
            helper.make_node("Conv", ["pooled", self.constant(name + "_w", w), self.constant(name + "_b", np.full(anchors * width, bias, np.float32))],
                             [name + "_map"], kernel_shape=[k, k], strides=[k, k]),
            helper.make_node("Transpose", [name + "_map"], [name + "_last"], perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", [name + "_last", self.constant(name + "_shape", np.array(shape + (-1, width), np.int64))],
                             [last if squash else name]),
        ]
        if squash:
            self.nodes.append(helper.make_node(squash, [last], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [*shape, None, width]))

    def save(self, path, order):
        by_name = {o.name: o for o in self.outputs}
        picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, None, None])
        write(path, helper.make_graph(self.nodes, "heads", [picture], [by_name[n] for n in order], self.weights))


def write(path, graph):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def scrfd(path):
    graph = Graph(11, 2.5)
    for s in STRIDES:
        graph.head(f"score_{s}", s, 2, 1, (), -1.5, "Sigmoid")
        graph.head(f"bbox_{s}", s, 2, 4, (), 1.0, "Softplus")
        graph.head(f"kps_{s}", s, 2, 10, ())
    graph.save(path, [f"{n}_{s}" for n in ("score", "bbox", "kps") for s in STRIDES])


def yunet(path):
    graph = Graph(12, 0.6 / 128)
    for s in STRIDES:
        graph.head(f"cls_{s}", s, 1, 1, (1,), -0.2, "Sigmoid")
        graph.head(f"obj_{s}", s, 1, 1, (1,), 0.0, "Sigmoid")
        graph.head(f"bbox_{s}", s, 1, 4, (1,), 0.3)
        graph.head(f"kps_{s}", s, 1, 10, (1,))
    graph.save(path, [f"{n}_{s}" for n in ("cls", "obj", "bbox", "kps") for s in STRIDES])


def embedder(path, numbers=np.float32):
    weights = np.random.default_rng(13).standard_normal((3 * 12 * 12, 16)).astype(numbers)
    kind = helper.np_dtype_to_tensor_dtype(weights.dtype)
    nodes = [
        helper.make_node("AveragePool", ["data"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["fc1"]),
    ]
    picture = helper.make_tensor_value_info("data", kind, [1, 3, SIDE, SIDE])
    vector = helper.make_tensor_value_info("fc1", kind, [1, 16])
    write(path, helper.make_graph(nodes, "embedder", [picture], [vector], [numpy_helper.from_array(weights, "w")]))


def see_scrfd(path, bgr):
    """Boxes, landmarks and scores by InsightFace's own SCRFD, at the picture's size."""
    detector = SCRFD(str(path), static_shape_sessions=False)
    detector.prepare(-1, nms_thresh=0.4, det_thresh=0.5)
    h, w = bgr.shape[:2]
    boxes, marks = detector.detect(bgr, input_size=(w + -w % 32, h + -h % 32))
    return [(b[:4], m, b[4]) for b, m in zip(boxes, marks)]


def see_yunet(path, bgr):
    """Boxes, landmarks and scores by OpenCV's own FaceDetectorYN, at the picture's size."""
    detector = cv2.FaceDetectorYN.create(str(path), "", bgr.shape[1::-1], 0.7, 0.3, 5000)
    return [(np.append(f[:2], f[:2] + f[2:4]), f[4:14].reshape(5, 2), f[14]) for f in detector.detect(bgr)[1]]


def embed(path, tensor):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"data": tensor.astype(np.float32)})[0][0]


def recorded(found, factor):
    return [dict(bbox=numbers((b.reshape(2, 2) / factor).ravel()), landmarks=[numbers(k) for k in m / factor], score=float(s)) for b, m, s in found]


if __name__ == "__main__":
    out = Path(sys.argv[1])
    original = cv2.imread(str(out / "two.png"))
    size = (640, int(np.floor(original.shape[0] * 640 / original.shape[1] + 0.5)))
    picture = cv2.resize(original, size, interpolation=cv2.INTER_AREA)
    factor = np.array(size) / np.array(original.shape[1::-1])
    seen = {}
    for name, make, see in (("scrfd", scrfd, see_scrfd), ("yunet", yunet, see_yunet)):
        make(out / f"{name}.onnx")
        seen[name] = recorded(see(out / f"{name}.onnx", picture), factor)
        print(name, len(seen[name]), [round(f["score"], 3) for f in seen[name]][:5], "...", round(seen[name][-1]["score"], 4))
    embedder(out / "embedder.onnx")
    embedder(out / "embedder-f16.onnx", np.float16)
    face = cv2.warpAffine(original, similarity_transform(MARKS, TEMPLATE * SIDE / 112), (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    tensor = ((face[..., ::-1].astype(np.float32) - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)[None]
    vector = embed(out / "embedder.onnx", tensor)
    seen["embedder"] = dict(landmarks=MARKS.tolist(), vector=numbers(vector / np.linalg.norm(vector), 6))
    (out / "specs.json").write_text(json.dumps(seen) + "\n")
