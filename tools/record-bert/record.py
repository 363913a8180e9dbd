"""Makes a tiny random BERT token classifier and records what transformers' pipeline finds in captions with it, for the parity test of models/bert-ner.

    pip install torch==2.15.0 transformers==5.24.0 && python record.py ../../models/bert-ner/tests/fixtures

Writes cased/ (a whole model folder with tokenizer.json), uncased/ (vocab.txt and tokenizer_config.json for the same weights), and of each captions.jsonl
({"text", "ids", "spans": [[start, end, "GROUP"], ...] in code points}) and logits.safetensors (of every eighth caption, by its number).
"""
import json
import random
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForTokenClassification, BertTokenizer, pipeline

LABELS = ["O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
WORDS = "Mira Castellan Jonas Albrecht Paris Lisbon premiere photo the at in of with and Zoë Müller José".split()
MARKS = ["é", "ü", "ñ", "ö", "ï", "\u0301", "ß", "İ", "李", "小", "龍", "東", "京", "の", "각", "ᄀ", "ᅡ", "ᆨ", "😀", "✨", "—", "“", "”", "…", "½", "ﬁ", "ж", "я"]
FIXED = [
    "", " ", "\t\n\r", "a", "Mira Castellan at the premiere in Paris", "MIRA CASTELLAN", "Zoë Müller—José", "Zoe\u0308 Mu\u0308ller", "李小龍 at 東京の premiere",
    "각 각각 ᄀ ᅡ", "İstanbul İİ ß ẞ ﬁ ½", "😀 Mira 😀Castellan😀 👩\u200d👩\u200d👧 🇵🇹", "Mira\u0000Castellan\u0007 in\u200bParis\ufeff", "Mira\ufffdCastellan\u00adJonas",
    "[CLS] Mira [SEP] Castellan [MASK][PAD] [UNK] [sep]", "##a ##Mira # #", "x" * 100 + " " + "y" * 101 + " Mira", "a\u0301\u0301\u0301 \u0301 \u0301a", "\u3000Mira\u00a0Castellan\u2003in\u2028Paris\u0085",
    "Jonas's (photo) [of] {Paris}, 50% off: $10 + ^_~`|", "\U000e0001Mira\ue000Castellan\U0010ffff", "मीरा กมลา ميرا מירה", "Mira Castellan " * 300, "é" * 300, "李" * 600, "Jonas " * 510, "Jonas " * 511,
]


def vocabulary(lower):
    pieces = [chr(c) for c in range(33, 127)] + MARKS + WORDS
    if lower:
        pieces = [p.lower() for p in pieces]
    pieces += ["##" + p for p in pieces if p[0].isalnum() or p in MARKS]
    return list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]))


def captions(count, rng):
    for _ in range(count):
        parts = []
        for _ in range(rng.randint(1, 14)):
            word = rng.choice(WORDS)
            parts.append(rng.choice([word, word.upper(), word[: rng.randint(1, len(word))] + rng.choice(MARKS), rng.choice(MARKS), chr(rng.choice([rng.randint(32, 0x2FF), rng.randint(0x900, 0xD7FF), rng.randint(0x1F300, 0x1FAFF)]))]))
            parts.append(rng.choice([" ", " ", " ", "", ", ", "-", "\n", "'s "]))
        yield "".join(parts)


def model(size):
    torch.manual_seed(4)
    config = BertConfig(vocab_size=size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, initializer_range=0.6,
                        id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)})
    made = BertForTokenClassification(config).eval()
    with torch.no_grad():
        for name, value in made.named_parameters():
            if name.endswith("bias"):
                value.normal_(0, 0.3)
        made.classifier.bias[0] += 1.5
    return made


def record(folder, made, tokenizer, texts):
    find = pipeline("token-classification", model=made, tokenizer=tokenizer, aggregation_strategy="simple", device="cpu")
    logits, closest = {}, 9.0
    with open(folder / "captions.jsonl", "w") as out:
        for number, text in enumerate(texts):
            batch = tokenizer(text, return_tensors="pt", truncation=True)
            with torch.no_grad():
                values = made(**batch).logits[0]
            top = values.topk(2).values
            closest = min(closest, (top[:, 0] - top[:, 1]).min().item())
            spans = [[e["start"], e["end"], e["entity_group"]] for e in find([text])[0]]
            out.write(json.dumps({"text": text, "ids": batch["input_ids"][0].tolist(), "spans": spans}, ensure_ascii=False, separators=(",", ":")) + "\n")
            if number % 8 == 0:
                logits[str(number)] = values
    save_file(logits, folder / "logits.safetensors")
    assert closest > 1e-5, f"two labels are {closest} apart: take another seed"


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = Path(sys.argv[1])
    texts = FIXED + list(captions(30, random.Random(4)))
    vocabularies = {"cased": vocabulary(False), "uncased": vocabulary(True)}
    made = model(max(map(len, vocabularies.values())))
    for kind, words in vocabularies.items():
        folder = root / kind
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        tokenizer = BertTokenizer(vocab={w: i for i, w in enumerate(words)}, do_lower_case=kind == "uncased", model_max_length=512)
        if kind == "cased":
            made.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        else:
            (folder / "vocab.txt").write_text("".join(w + "\n" for w in words))
            (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "model_max_length": 512, "tokenizer_class": "BertTokenizer"}\n')
        record(folder, made, tokenizer, texts)
