"""Prints Table 2 from what tools/table2.sh left in a folder: table2.py FOLDER STEPS."""
import json
import sys
from pathlib import Path

ROWS = {
    "plain": "Ours (w/o fine-tune)",
    "laioncele-lora": "LaionCele, LoRA",
    "laioncele-unet": "LaionCele, U-net",
    "small-lora": "small set, LoRA",
    "small-unet": "small set, U-net",
}


def main():
    folder, steps = Path(sys.argv[1]), sys.argv[2]
    tables = {row: json.loads((folder / f"{row}.json").read_text())["scores"] for row in ROWS}
    metrics = [score["metric"] for score in tables["plain"] if not score.get("group")]
    metrics = list(dict.fromkeys(metrics))
    print(f"{steps} steps each; differences to the first row in brackets")
    print("| U-Net | first loss | last loss | " + " | ".join(metrics) + " |")
    print("|---" * (3 + len(metrics)) + "|")
    value = lambda row, metric: next((s["value"] for s in tables[row] if s["metric"] == metric and not s.get("group")), None)
    for row, title in ROWS.items():
        card = folder / row / "card.json"
        losses = json.loads(card.read_text()) if card.exists() else {}
        cells = [title, *(f"{losses[k]:.4f}" if k in losses else "" for k in ("first_loss", "last_loss"))]
        for metric in metrics:
            found, plain = value(row, metric), value("plain", metric)
            if found is None or plain is None:
                cells.append("")
            else:
                cells.append(f"{found:.4f}" if row == "plain" else f"{found:.4f} ({found - plain:+.4f})")
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
