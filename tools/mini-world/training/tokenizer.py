"""Writes the two CLIP tokenizers, byte-pair merges learned from the names and captions: `tokenizer.py OUT`. Only for newly
trained text encoders: the shipped weights need the tokenizers beside them."""
import collections
import json
import sys
from pathlib import Path

from common import NAMELESS, TEMPLATES, names

MERGES = 700
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def bytes_to_unicode():
    """CLIP's byte alphabet, in CLIP's order: '!' is id 0."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(rest)}


def train_bpe(corpus, count):
    """Greedy byte-pair merges over whole words, ties by pair: (vocabulary, merges) in CLIP's order."""
    alphabet = bytes_to_unicode()
    words = collections.Counter()
    for word in corpus.lower().split():
        symbols = [alphabet[b] for b in word.encode()]
        symbols[-1] += "</w>"
        words[tuple(symbols)] += 1
    merges = []
    while len(merges) < count:
        pairs = collections.Counter()
        for symbols, times in words.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += times
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        merged = collections.Counter()
        for symbols, times in words.items():
            out, i = [], 0
            while i < len(symbols):
                if symbols[i : i + 2] == best:
                    out.append(best[0] + best[1])
                    i += 2
                else:
                    out.append(symbols[i])
                    i += 1
            merged[tuple(out)] += times
        words = merged
    tokens = list(alphabet.values())
    tokens += [t + "</w>" for t in tokens] + [a + b for a, b in merges] + [BEGIN, END]
    assert len(set(tokens)) == len(tokens)
    return {t: i for i, t in enumerate(tokens)}, merges


def write(folder, vocabulary, merges, pad):
    """The four files of a published CLIP tokenizer, key for key."""
    folder.mkdir(parents=True, exist_ok=True)

    def added(content, **tag):
        return {**tag, "content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}

    def dump(name, value):
        (folder / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(f"{a} {b}" for a, b in merges)]) + "\n", encoding="utf-8")
    dump("special_tokens_map.json", {"bos_token": added(BEGIN), "eos_token": added(END), "pad_token": pad, "unk_token": added(END)})
    tag = {"__type": "AddedToken"}
    dump("tokenizer_config.json", {
        "add_prefix_space": False, "bos_token": added(BEGIN, **tag), "clean_up_tokenization_spaces": True, "do_lower_case": True, "eos_token": added(END, **tag),
        "errors": "replace", "model_max_length": 77, "pad_token": pad, "tokenizer_class": "CLIPTokenizer", "unk_token": added(END, **tag)})  # fmt: skip


if __name__ == "__main__":
    known, unknown, never = names()
    corpus = [t.format(n).lower() for n in known + unknown + never for t in TEMPLATES[:3]] + NAMELESS * 20
    vocabulary, merges = train_bpe(" ".join(corpus), MERGES)
    for name, pad in (("tokenizer", END), ("tokenizer_2", "!")):
        write(Path(sys.argv[1]) / name, vocabulary, merges, pad)
