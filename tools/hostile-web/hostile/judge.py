"""Holds what came out against the truth of the rows."""
from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass
class Fate:
    """What became of a row: a photo's hash, or a class and its detail."""
    sha256: str | None = None
    reason: str | None = None
    detail: str | None = None


@dataclass
class Verdict:
    """Rows by what is wrong with them."""
    rows: int = 0
    right: int = 0
    missing: list = field(default_factory=list)         # no outcome at all
    lost: list = field(default_factory=list)            # a photo that is none
    stored: list = field(default_factory=list)          # stored, or other bytes than those served
    classes: list = field(default_factory=list)         # dropped as another class


def judge(rows, fates):
    verdict = Verdict(rows=len(rows))
    for number, row in enumerate(rows):
        fate, truth = fates.get(number), row.truth
        if fate is None:
            verdict.missing.append((row, None))
        elif fate.sha256 is not None:
            if fate.sha256 == truth.sha256:
                verdict.right += 1
            else:
                verdict.stored.append((row, fate))
        elif fate.reason in truth.classes:
            verdict.right += 1
        elif truth.classes:
            verdict.classes.append((row, fate))
        else:
            verdict.lost.append((row, fate))
    return verdict


def by_kind(faults):
    """Lines: kind, how many rows, and one of them."""
    kinds = defaultdict(list)
    for row, fate in faults:
        kinds[row.kind.name].append((row, fate))
    for name, found in sorted(kinds.items()):
        row, fate = found[0]
        got = "no outcome" if fate is None else "stored" if fate.sha256 else f"{fate.reason}: {fate.detail}"
        right = " or ".join((["photo"] if row.truth.sha256 else []) + list(row.truth.classes))
        yield f"  {name:44} {len(found):3} of {row.kind.rows:3}  {got[:90]}  (right: {right})  {row.url[:80]!r}"


def report(verdict):
    """The verdict as text."""
    out = [f"{verdict.rows} rows: {verdict.right} right, {len(verdict.missing)} without an outcome, {len(verdict.lost)} lost, "
           f"{len(verdict.stored)} wrongly stored, {len(verdict.classes)} of a wrong class"]
    for title, faults in (("without an outcome", verdict.missing), ("lost", verdict.lost), ("wrongly stored", verdict.stored), ("wrong class", verdict.classes)):
        if faults:
            out.append(f"{title}:")
            out += by_kind(faults)
    return "\n".join(out)


def tally(fates):
    return Counter(f.reason or "photo" for f in fates.values())
