"""Prints what the trainings of Table 2 came to, from the cards that tools/table2.sh left in a folder: table2.py FOLDER."""
import json
import sys
from pathlib import Path

NAMES = ["laioncele-lora", "laioncele-unet", "small-lora", "small-unet"]


def main():
    folder = Path(sys.argv[1])
    print("| training | people | photos | steps | numbers | mean loss of the first 200 steps | of the last 200 | clipped | seconds |")
    print("|---" * 9 + "|")
    for name in NAMES:
        card = json.loads((folder / name / "card.json").read_text())
        cells = [name, card["people"], card["photos"], card["steps"], f"{card['parameters']:,}", f"{card['first_loss']:.4f}",
                 f"{card['last_loss']:.4f}", f"{card['clipped_steps']:.0%}", f"{card['seconds']:.0f}"]
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
