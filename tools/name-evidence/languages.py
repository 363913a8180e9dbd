"""What the packages know of other languages than English: titles and kinds of work, everyday words, Korean names. Used by make.py."""
import collections
import importlib
import json
import re
import unicodedata

PLAIN = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "ß": "ss", "æ": "ae", "œ": "oe", "þ": "th", "ı": "i"})
WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*\Z")


def fold(text):
    """Small ASCII letters; what is none stays and is dropped by the caller."""
    text = unicodedata.normalize("NFKD", text.lower().replace("’", "'").translate(PLAIN))
    return "".join(c for c in text if not unicodedata.combining(c))


def distribution(counts):
    total = sum(counts.values())
    return {w: n / total for w, n in counts.items()}


def strings(value):
    """All texts in lists inside lists and objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item["value"] if isinstance(item, dict) and "value" in item else item)
    elif isinstance(value, dict):
        for key in sorted(value):
            yield from strings(value[key])


def offices(packages, locales):
    """Kinds of work and of people and titles before a name, in all languages: titles of one word, and what several titles begin with."""
    whole, first = set(), collections.Counter()
    for text in office_texts(packages, locales):
        for title in re.split(r"\s*[/,;]\s*", re.sub(r"\(.*?\)", "", text)):
            words = title.split()
            for form in office_forms(words[0].rstrip(".")) if words else ():
                first[form] += 1
                whole.update([form] if len(words) == 1 else [])
    return whole | {word for word, count in first.items() if count >= 3}


def office_texts(packages, locales):
    for folder in sorted((packages / "faker/faker/providers/job").iterdir()):
        if (folder / "__init__.py").is_file():
            provider = importlib.import_module(f"faker.providers.job.{folder.name}").Provider
            for attribute in sorted(vars(provider)):
                if "job" in attribute and isinstance(getattr(provider, attribute), (dict, tuple, list)):
                    yield from (t for t in getattr(provider, attribute) if isinstance(t, str))
    for folder in sorted((packages / "faker/faker/providers/person").iterdir()):
        # These locales' prefixes are particles of surnames.
        if (folder / "__init__.py").is_file() and folder.name not in ("es_ES", "fr_FR", "pt_PT"):
            provider = importlib.import_module(f"faker.providers.person.{folder.name}").Provider
            for attribute in sorted(vars(provider)):
                if attribute.startswith("prefixes"):
                    yield from getattr(provider, attribute)
    for file in sorted((packages / "mimesis/mimesis/datasets").glob("*/person.json")):
        data = json.loads(file.read_text(encoding="utf-8"))
        for key in ("occupation", "nationality", "title"):
            yield from strings(data.get(key, []))
    for locale in sorted(locales):
        for key in ("job_type", "prefix"):
            yield from strings((locales[locale].get("person") or {}).get(key))


def office_forms(word):
    """The folded word; of `Spezialist*in` both forms."""
    forms = {fold(word.split("*")[0]), fold(word.replace("*", ""))}
    return sorted(w for w in forms if WORD.match(w) and len(w) > 2)


# Languages whose everyday words are taken: those of most captions that are not in English and in Latin letters.
EVERYDAY_LANGUAGES = "cs da de es fi fr hr hu id it nl no pl pt ro sk sv tr".split()


# Languages whose stop words are cut before a name.
STOP_LANGUAGES = "de es fr it nl pt".split()


def stop_words(packages):
    stops = json.loads((packages / "stopwords/stopwords-iso.json").read_text(encoding="utf-8"))
    return {w for language in STOP_LANGUAGES for w in map(fold, stops[language]) if WORD.match(w) and len(w) > 2}


def everyday_words(packages):
    """Stop words, and the words by which CLDR describes emoji and signs: things, animals, food, clothes, what people do."""
    stops = json.loads((packages / "stopwords/stopwords-iso.json").read_text(encoding="utf-8"))
    words = {fold(w) for language in EVERYDAY_LANGUAGES for w in stops.get(language, ())}
    for language in EVERYDAY_LANGUAGES:
        data = json.loads((packages / f"cldr/annotations/{language}/annotations.json").read_text(encoding="utf-8"))
        for texts in data["annotations"]["annotations"].values():
            for text in texts.get("default", []) + texts.get("tts", []):
                words.update(fold(w.strip(".,:;!?()'\"“”„’")) for w in text.split())
    return {w for w in words if WORD.match(w) and len(w) > 2}


# Hangul: how initials, vowels and finals are written in Latin letters, the ways that people write their names.
INITIALS = "g/k kk n d/t tt r/l m b/p pp s ss - j jj ch k t p h".split()
VOWELS = "a ae ya yae eo/u e yeo/you/yu ye o wa wae oe yo u/oo wo we wi yu/yoo eu/u ui/ee i/ee".split()
FINALS = "- k kk ks n nj nh t l lk lm lp ls lt lp lh m p ps t t ng t ch k t p h".split()


def romanized(syllable):
    """The ways in which a syllable of Hangul is written in Latin letters."""
    at = ord(syllable) - 0xAC00
    if not 0 <= at < 11172:
        return []
    parts = [INITIALS[at // 588], VOWELS[at // 28 % 21], FINALS[at % 28]]
    forms = [""]
    for part in parts:
        forms = [f + ("" if p == "-" else p) for f in forms for p in part.split("/")]
    # `si` is written Shi, and Seo often Suh.
    return sorted(set(forms) | {"sh" + f[1:] for f in forms if f.startswith(("si", "sin"))} | {f + "h" for f in forms if f in ("su", "a", "no")})


def korean_names(packages, locales):
    """Syllables of Korean given names and their pairs, with weights, from the lists in Hangul."""
    provider = importlib.import_module("faker.providers.person.ko_KR").Provider
    names = {n for key in ("first_names_female", "first_names_male", "first_names") for n in getattr(provider, key, ())}
    data = json.loads((packages / "mimesis/mimesis/datasets/ko/person.json").read_text(encoding="utf-8"))
    names.update(strings(data["names"]), strings((locales["ko"]["person"])["first_name"]))
    counts = collections.Counter()
    for name in sorted(names):
        ways = [romanized(s) for s in name]
        for forms in ways:
            for form in forms:
                counts[form] += 1 / len(forms)
        if len(ways) == 2:
            pairs = [a + b for a in ways[0] for b in ways[1]]
            for pair in pairs:
                counts[pair] += 1 / len(pairs)
    return distribution({w: n for w, n in counts.items() if WORD.match(w) and len(w) > 2}), korean_surnames(provider, data, locales)


def korean_surnames(provider, data, locales):
    """The ways in which Korean surnames are written: by rule, and the commonest by habit."""
    written = {"김": "kim", "이": "lee yi rhee", "박": "park pak", "최": "choi", "정": "jung chung", "우": "woo", "구": "koo", "노": "roh", "임": "lim"}
    names = {*provider.last_names, *strings(data["surnames"]), *strings(locales["ko"]["person"]["last_name"])}
    forms = {f for name in names if len(name) == 1 for f in romanized(name)}
    return {w for w in forms.union(*(v.split() for v in written.values())) if len(w) > 2}
