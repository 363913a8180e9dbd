"""Records Fréchet distances of small sets of correlated features with SciPy's matrix square root, for the parity test of evaluate.

    pip install numpy==2.4.6 scipy==1.17.1 && python record.py ../../stages/evaluate/tests/fixtures/frechet.json
"""
import json
import sys

import numpy as np
from scipy.linalg import eigh, sqrtm


def distance(x, y):
    """As pytorch-fid computes it; with fewer rows than features by eigenvectors, where sqrtm of the product loses digits."""
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    if min(len(x), len(y)) > x.shape[1]:
        root = np.trace(sqrtm(a @ b)).real
    else:
        values, vectors = eigh(a)
        half = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
        root = np.sqrt(np.clip(eigh(half @ b @ half, eigvals_only=True), 0, None)).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * root)


if __name__ == "__main__":
    rng, sets = np.random.default_rng(11), []
    for name, width, first, second in [("square", 4, 9, 12), ("wide", 7, 4, 5), ("one is wide", 6, 5, 30), ("long", 3, 40, 25)]:
        mixed = [rng.normal(size=(n, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width) for n in (first, second)]
        x, y = (np.round(m, 4).astype(np.float32).astype(np.float64) for m in mixed)
        rows = [[[round(float(v), 4) for v in row] for row in m] for m in (x, y)]
        sets.append(dict(name=name, first=rows[0], second=rows[1], distance=distance(x, y)))
    with open(sys.argv[1], "w") as out:
        json.dump(sets, out)
        out.write("\n")
