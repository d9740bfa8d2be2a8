"""The labelled sets as the model sees them: normalised, coins and companies masked, near-duplicates dropped.

Which set may train and which only evaluates is written here once. An evaluation file is read by the trainer for one
thing: to drop from the training sets what stands in it too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import pandas as pd

from data.errors import InputError
from signals.entities import Linker, Mention
from signals.mask import MARKET_COIN, masked
from signals.text import normalise

LABELS: Final = (-1, 0, 1)
"""Bearish, neutral, bullish; a row's class is its place here."""


OWN: Final = "own_"
"""What the origin of a post of our own begins with."""


@dataclass(frozen=True, slots=True)
class Row:
    """One text as one coin sees it."""

    text: str
    label: int
    source: str = "social"
    origin: str = ""
    group: str = ""  # rows of one group stay on one side of a split


@dataclass(frozen=True, slots=True)
class SetSpec:
    """A labelled set: its file, what a person would call it, how its texts reach us, its licence, its last text."""

    file: str
    title: str
    source: str
    licence: str
    until: date


TRAINING: Final = (
    SetSpec("train_tfns_train", "Twitter Financial News Sentiment, train split", "social", "MIT", date(2022, 12, 31)),
    SetSpec("train_sentfin_entity", "SEntFiN 1.0, nine tenths", "news", "MIT", date(2022, 12, 31)),
    SetSpec("train_surge_stock", "Surge AI stock sentiment", "social", "MIT", date(2022, 12, 31)),
    SetSpec("train_pooja_tweets", "poojathakoor twitter-stock-sentiment", "social", "MIT", date(2015, 12, 31)),
)
EVALUATION: Final = ("eval_tfns_valid", "eval_sentfin_entity", "eval_cryptolin")
NEVER_TRAINED: Final = ("train_finentity",)
"""Its licence isn't confirmed, so it doesn't train what is shipped; it may report."""

_LINK = re.compile(r"(?:https?://|www\.)\S+")
_USER = re.compile(r"@\w+")
_NOT_LETTER = re.compile(r"[\W\d_]+")


def duplicate_key(text: str) -> str:
    """What two near-duplicates share: the letters, lower case, without links and user names.

    >>> duplicate_key("Up 5%! https://t.co/x @you") == duplicate_key("UP: 7 %")
    True
    """
    return _NOT_LETTER.sub("", _USER.sub("", _LINK.sub("", normalise(text).lower())))


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_table(path: Path) -> pd.DataFrame:
    """A labelled file: `text`, `label` of -1, 0, 1 (or bearish, neutral, bullish), `target` where there is one.

    Raises
    ------
    InputError
        No such file, not CSV or Parquet, a column missing, a label that is none of the three, no rows.
    """
    if not path.is_file():
        raise InputError("no such file", where=path, remedy="Give the path of a CSV or Parquet file")
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        remedy = "Save it as CSV (text,label[,target]) or Parquet"
        raise InputError(f"can't be read: {error}", where=path, remedy=remedy) from error
    for column in ("text", "label"):
        if column not in frame.columns:
            have = ", ".join(map(str, frame.columns))
            raise InputError("no such column", where=path, key=column, value=have, remedy="Name its columns text,label")
    named = {"bearish": -1, "neutral": 0, "bullish": 1}
    labels = frame["label"].map(lambda label: named.get(str(label).strip().lower(), label))
    numbers = pd.to_numeric(labels, errors="coerce")
    wrong = frame[~numbers.isin(LABELS)]
    if len(wrong):
        at, label = int(str(wrong.index[0])) + 1, wrong["label"].iloc[0]
        remedy = "Use -1, 0, 1 or bearish, neutral, bullish"
        raise InputError(f"not a label in row {at}", where=path, key="label", value=label, remedy=remedy)
    frame = frame.assign(label=numbers.astype(int), text=frame["text"].astype(str))
    frame = frame[frame["text"].str.strip() != ""]
    if frame.empty:
        raise InputError("no rows", where=path, remedy="Give at least a few dozen labelled texts")
    return frame.reset_index(drop=True)


def find_spans(text: str, names: Iterable[str], first: str = "") -> tuple[Mention, ...]:
    """Where names stand in a normalised text: whole words, any case, `first` before the longest, never overlapping."""
    taken: list[Mention] = []
    for name in sorted(set(names), key=lambda name: (name != first, -len(name), name)):
        pattern = rf"(?<!\w){re.escape(name)}(?!\w)" if name else "(?!)"
        for match in re.finditer(pattern, text, re.IGNORECASE):
            start, end = match.span()
            if all(end <= other.start or start >= other.end for other in taken):
                taken.append(Mention(start, end, name))
    return tuple(sorted(taken))


def mask_rows(frame: pd.DataFrame, source: str, origin: str, linker: Linker | None = None) -> list[Row]:
    """Rows of a table: masked for their target where they name one, else for the market with coins found by rule."""
    linker = linker or Linker()
    texts = [normalise(text) for text in frame["text"]]
    labels = [int(label) for label in frame["label"]]
    if "target" not in frame.columns:
        return [
            Row(masked(text, linker.mentions(text), MARKET_COIN), label, source, origin, duplicate_key(text))
            for text, label in zip(texts, labels, strict=True)
        ]
    targets = ["" if pd.isna(target) else normalise(str(target)) for target in frame["target"]]
    beside: dict[str, set[str]] = {}
    for text, target in zip(texts, targets, strict=True):
        beside.setdefault(text, set()).add(target)
    rows = []
    for text, target, label in zip(texts, targets, labels, strict=True):
        spans = find_spans(text, beside[text], target) if target else linker.mentions(text)
        rows.append(Row(masked(text, spans, target or MARKET_COIN), label, source, origin, duplicate_key(text)))
    return rows


def training_rows(folder: Path) -> tuple[dict[str, list[Row]], dict[str, dict[str, Any]]]:
    """Rows of the training sets by file, near-duplicates of evaluation texts left out, and what the card says of each.

    Raises
    ------
    InputError
        A training or evaluation file isn't there: without the second nobody can say what leaked.
    """
    seen = {duplicate_key(text) for name in EVALUATION for text in read_table(folder / f"{name}.parquet")["text"]}
    linker = Linker()
    found: dict[str, list[Row]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for spec in TRAINING:
        path = folder / f"{spec.file}.parquet"
        frame = read_table(path)
        keep = [duplicate_key(text) not in seen for text in frame["text"]]
        rows = mask_rows(frame[keep].reset_index(drop=True), spec.source, spec.file, linker)
        found[spec.file] = rows
        facts[spec.file] = {
            "name": spec.title,
            "rows": len(rows),
            "dropped_near_duplicates": len(frame) - len(rows),
            "licence": spec.licence,
            "until": spec.until.isoformat(),
            "sha256": file_hash(path),
        }
    return found, facts


def split_rows(rows: Sequence[Row], share: float) -> tuple[list[Row], list[Row]]:
    """Training and validation rows, by hash of the group: near-duplicates and one text's entities stay together."""
    kept: list[Row] = []
    held: list[Row] = []
    for row in rows:
        digest = hashlib.sha256(row.group.encode()).digest()
        (held if int.from_bytes(digest[:4], "big") < share * 2**32 else kept).append(row)
    return kept, held
