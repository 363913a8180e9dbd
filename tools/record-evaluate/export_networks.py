#!/usr/bin/env python3
"""Writes the networks that `[evaluate]` names as ONNX files, from weights that you bring.

    python export_networks.py inception pt_inception-2015-12-05-6726825d.pth inception.onnx
    python export_networks.py facenet 20180402-114759-vggface2.pt facenet.onnx
    python export_networks.py inception --random 1 inception.onnx      # the real shape, random weights: for tests

inception: the network of the TensorFlow graph of 2015 with which FID is defined, weights as pytorch-fid and torch-fidelity ship them. Input
`image` [N, 3, 299, 299], output `features` [N, 2048].
facenet: InceptionResnetV1, weights as facenet-pytorch ships them. Input `face` [N, 3, 160, 160], output `embedding` [N, 512] of unit length.
Both take red, green and blue from 0 to 255; what is done to the numbers first is in the graph.

Needs torch and onnx. Batch norms are folded into the convolutions. What was written is run by ONNX Runtime, where that is installed, and
compared with torch.
"""
import argparse
from pathlib import Path

import torch
from torch.nn import functional as F

EPSILON = 1e-3  # of all batch norms of both networks


def average(x):
    """TensorFlow's average leaves the padding out of the count."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class Folded(torch.nn.Module):
    """Convolutions by the names of a state dict, each with its batch norm folded in."""

    def __init__(self, state):
        super().__init__()
        self.weights, self.used = torch.nn.ParameterDict(), set()
        for key in [k for k in state if k.endswith(".conv.weight")]:
            name = key.removesuffix(".conv.weight")
            scale = state[f"{name}.bn.weight"].double() / (state[f"{name}.bn.running_var"].double() + EPSILON).sqrt()
            self.keep(name, state[key].double() * scale[:, None, None, None], state[f"{name}.bn.bias"].double() - state[f"{name}.bn.running_mean"].double() * scale)

    def keep(self, name, weight, bias):
        key = name.replace(".", "-")
        for part, value in (("w", weight), ("b", bias)):
            self.weights[f"{key}-{part}"] = torch.nn.Parameter(value.float(), requires_grad=False)

    def conv(self, name, x, stride=1, same=True):
        """Convolution and ReLU; `same` keeps the size at stride 1."""
        key = name.replace(".", "-")
        self.used.add(key)
        weight, bias = self.weights[f"{key}-w"], self.weights[f"{key}-b"]
        padding = [k // 2 if same and stride == 1 else 0 for k in weight.shape[2:]]
        return F.relu(F.conv2d(x, weight, bias, stride, padding))

    def chain(self, names, x):
        for name in names:
            x = self.conv(name, x)
        return x


class Inception(Folded):
    def stem(self, x):
        x = self.conv("Conv2d_1a_3x3", x, 2)
        x = self.conv("Conv2d_2b_3x3", self.conv("Conv2d_2a_3x3", x, same=False))
        x = self.conv("Conv2d_3b_1x1", F.max_pool2d(x, 3, 2))
        return F.max_pool2d(self.conv("Conv2d_4a_3x3", x, same=False), 3, 2)

    def branches(self, block, x, *chains):
        return [self.chain([f"{block}.{name}" for name in chain.split()], x) for chain in chains]

    def squares(self, block, x):
        parts = self.branches(block, x, "branch1x1", "branch5x5_1 branch5x5_2", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3")
        return torch.cat([*parts, self.conv(f"{block}.branch_pool", average(x))], 1)

    def strips(self, block, x):
        double = " ".join(f"branch7x7dbl_{k}" for k in range(1, 6))
        parts = self.branches(block, x, "branch1x1", "branch7x7_1 branch7x7_2 branch7x7_3", double)
        return torch.cat([*parts, self.conv(f"{block}.branch_pool", average(x))], 1)

    def smaller(self, block, x, *chains):
        """Each chain ends in a convolution that halves the size."""
        parts = []
        for chain in chains:
            *first, last = chain.split()
            parts.append(self.conv(f"{block}.{last}", self.chain([f"{block}.{name}" for name in first], x), 2))
        return torch.cat([*parts, F.max_pool2d(x, 3, 2)], 1)

    def forked(self, block, x, pool):
        [single, double] = self.branches(block, x, "branch3x3_1", "branch3x3dbl_1 branch3x3dbl_2")
        fork = lambda stem, y: [self.conv(f"{block}.{stem}{side}", y) for side in "ab"]
        parts = [self.conv(f"{block}.branch1x1", x), *fork("branch3x3_2", single), *fork("branch3x3dbl_3", double)]
        return torch.cat([*parts, self.conv(f"{block}.branch_pool", pool(x))], 1)

    def forward(self, image):
        x = self.stem((image - 128.0) / 128.0)
        for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
            x = self.squares(block, x)
        x = self.smaller("Mixed_6a", x, "branch3x3", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3")
        for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
            x = self.strips(block, x)
        x = self.smaller("Mixed_7a", x, "branch3x3_1 branch3x3_2", "branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4")
        x = self.forked("Mixed_7b", x, average)
        # The graph takes the largest here, whatever the paper of the network says.
        x = self.forked("Mixed_7c", x, lambda y: F.max_pool2d(y, 3, 1, 1))
        return x.mean((2, 3))


class FaceNet(Folded):
    def __init__(self, state):
        super().__init__(state)
        for key in [k for k in state if k.endswith(".conv2d.weight")]:
            name = key.removesuffix(".weight")
            self.keep(name, state[key].double(), state[f"{name}.bias"].double())
        scale = state["last_bn.weight"].double() / (state["last_bn.running_var"].double() + EPSILON).sqrt()
        self.keep("last_linear", state["last_linear.weight"].double() * scale[:, None], state["last_bn.bias"].double() - state["last_bn.running_mean"].double() * scale)

    def residual(self, block, x, branches, scale, ends_in_relu=True):
        parts = [self.conv(f"{block}.branch0", x)]
        parts += [self.chain([f"{block}.branch{b}.{k}" for k in range(length)], x) for b, length in enumerate(branches, 1)]
        key = f"{block}.conv2d".replace(".", "-")
        self.used.add(key)
        x = x + scale * F.conv2d(torch.cat(parts, 1), self.weights[f"{key}-w"], self.weights[f"{key}-b"])
        return F.relu(x) if ends_in_relu else x

    def smaller(self, block, x, branches):
        parts = []
        for b, length in enumerate(branches):
            names = [f"{block}.branch{b}.{k}" for k in range(length)] if length > 1 else [f"{block}.branch{b}"]
            parts.append(self.conv(names[-1], self.chain(names[:-1], x), 2))
        return torch.cat([*parts, F.max_pool2d(x, 3, 2)], 1)

    def forward(self, face):
        x = self.conv("conv2d_1a", (face - 127.5) / 128.0, 2)
        x = F.max_pool2d(self.conv("conv2d_2b", self.conv("conv2d_2a", x, same=False)), 3, 2)
        x = self.conv("conv2d_4a", self.conv("conv2d_3b", x), same=False)
        x = self.conv("conv2d_4b", x, 2)
        for k in range(5):
            x = self.residual(f"repeat_1.{k}", x, (2, 3), 0.17)
        x = self.smaller("mixed_6a", x, (1, 3))
        for k in range(10):
            x = self.residual(f"repeat_2.{k}", x, (3,), 0.10)
        x = self.smaller("mixed_7a", x, (2, 2, 3))
        for k in range(5):
            x = self.residual(f"repeat_3.{k}", x, (3,), 0.20)
        x = self.residual("block8", x, (3,), 1.0, ends_in_relu=False)
        self.used.add("last_linear")
        return F.normalize(F.linear(x.mean((2, 3)), self.weights["last_linear-w"], self.weights["last_linear-b"]))


KINDS = {"inception": (Inception, 299, "image", "features"), "facenet": (FaceNet, 160, "face", "embedding")}


def inception_shapes():
    """Name, channels in and out, height and width of each convolution's kernel."""
    stem = [("Conv2d_1a_3x3", 3, 32, 3, 3), ("Conv2d_2a_3x3", 32, 32, 3, 3), ("Conv2d_2b_3x3", 32, 64, 3, 3), ("Conv2d_3b_1x1", 64, 80, 1, 1), ("Conv2d_4a_3x3", 80, 192, 3, 3)]
    yield from stem
    for block, width, pool in (("Mixed_5b", 192, 32), ("Mixed_5c", 256, 64), ("Mixed_5d", 288, 64)):
        for name, i, o, k in (("branch1x1", width, 64, 1), ("branch5x5_1", width, 48, 1), ("branch5x5_2", 48, 64, 5), ("branch3x3dbl_1", width, 64, 1), ("branch3x3dbl_2", 64, 96, 3), ("branch3x3dbl_3", 96, 96, 3), ("branch_pool", width, pool, 1)):
            yield f"{block}.{name}", i, o, k, k
    for name, i, o, k in (("branch3x3", 288, 384, 3), ("branch3x3dbl_1", 288, 64, 1), ("branch3x3dbl_2", 64, 96, 3), ("branch3x3dbl_3", 96, 96, 3)):
        yield f"Mixed_6a.{name}", i, o, k, k
    for block, c in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        for name, i, o, h, w in (("branch1x1", 768, 192, 1, 1), ("branch7x7_1", 768, c, 1, 1), ("branch7x7_2", c, c, 1, 7), ("branch7x7_3", c, 192, 7, 1), ("branch7x7dbl_1", 768, c, 1, 1), ("branch7x7dbl_2", c, c, 7, 1),
                                 ("branch7x7dbl_3", c, c, 1, 7), ("branch7x7dbl_4", c, c, 7, 1), ("branch7x7dbl_5", c, 192, 1, 7), ("branch_pool", 768, 192, 1, 1)):
            yield f"{block}.{name}", i, o, h, w
    for name, i, o, h, w in (("branch3x3_1", 768, 192, 1, 1), ("branch3x3_2", 192, 320, 3, 3), ("branch7x7x3_1", 768, 192, 1, 1), ("branch7x7x3_2", 192, 192, 1, 7), ("branch7x7x3_3", 192, 192, 7, 1), ("branch7x7x3_4", 192, 192, 3, 3)):
        yield f"Mixed_7a.{name}", i, o, h, w
    for block, width in (("Mixed_7b", 1280), ("Mixed_7c", 2048)):
        for name, i, o, h, w in (("branch1x1", width, 320, 1, 1), ("branch3x3_1", width, 384, 1, 1), ("branch3x3_2a", 384, 384, 1, 3), ("branch3x3_2b", 384, 384, 3, 1), ("branch3x3dbl_1", width, 448, 1, 1), ("branch3x3dbl_2", 448, 384, 3, 3),
                                 ("branch3x3dbl_3a", 384, 384, 1, 3), ("branch3x3dbl_3b", 384, 384, 3, 1), ("branch_pool", width, 192, 1, 1)):
            yield f"{block}.{name}", i, o, h, w


def random_state(kind, seed):
    if kind != "inception":
        raise SystemExit("--random is for inception")
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, i, o, h, w in inception_shapes():
        state[f"{name}.conv.weight"] = torch.randn(o, i, h, w, generator=generator) * (2 / (i * h * w)) ** 0.5
        state |= {f"{name}.bn.weight": torch.ones(o), f"{name}.bn.bias": 0.1 * torch.randn(o, generator=generator), f"{name}.bn.running_mean": torch.zeros(o), f"{name}.bn.running_var": torch.ones(o)}
    return state


def checked(kind, state):
    """Refuses weights of another network by the names and shapes that are missing."""
    needed = {f"{name}.conv.weight": (o, i, h, w) for name, i, o, h, w in inception_shapes()} if kind == "inception" else {"last_linear.weight": (512, 1792), "conv2d_1a.conv.weight": (32, 3, 3, 3), "block8.conv2d.weight": (1792, 384, 1, 1)}
    wrong = [f"{name}: {tuple(state[name].shape) if name in state else 'missing'}, not {shape}" for name, shape in needed.items() if name not in state or tuple(state[name].shape) != shape]
    if wrong:
        raise SystemExit(f"these are no weights of {kind}: " + "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""))
    return state


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("weights", type=Path, nargs="?")
    parser.add_argument("out", type=Path)
    parser.add_argument("--random", type=int, metavar="SEED")
    args = parser.parse_args()
    network, side, name, output = KINDS[args.kind]
    if args.random is None and args.weights is None:
        parser.error("a file of weights, or --random SEED")
    state = random_state(args.kind, args.random) if args.random is not None else torch.load(args.weights, map_location="cpu", weights_only=True)
    network = network(checked(args.kind, state)).eval()
    example = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        expected = network(example)
        unused = {key.rsplit("-", 1)[0] for key in network.weights} - network.used - {"AuxLogits-conv0", "AuxLogits-conv1"}
        if unused:
            raise SystemExit(f"weights that no part of the network reads: {sorted(unused)[:5]}")
        torch.onnx.export(network, (example,), str(args.out), input_names=[name], output_names=[output], opset_version=17, dynamo=False, dynamic_axes={name: {0: "N"}, output: {0: "N"}})
    print(f"{args.out}: {args.out.stat().st_size:,} bytes, {name} [N, 3, {side}, {side}] -> {output} [N, {expected.shape[1]}]")
    try:
        import onnxruntime
    except ImportError:
        print("not compared: onnxruntime is not installed")
        return
    session = onnxruntime.InferenceSession(str(args.out), providers=["CPUExecutionProvider"])
    worst = max((torch.from_numpy(session.run(None, {name: example[:n].numpy()})[0]) - expected[:n]).abs().max().item() for n in (1, 2)) / expected.abs().max().item()
    print(f"{worst:.1e} from torch")
    raise SystemExit(int(worst > 1e-4))


if __name__ == "__main__":
    main()
