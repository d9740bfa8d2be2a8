"""Which coin a post is about: precision and recall against five hundred hand-labelled real posts, and posts a second.

python -m benchmarks.entities [--data FOLDER] [--rounds 3] [--posts 20000] [--json]

The labels (`tests/signals/labels/entities_500.csv`) name file, column, row and a hash of each text, not the text; the
files are looked for in ``FOLDER/text``, FOLDER being what TIDEGATE_REAL_DATA names unless given. A label is every coin
that a reader finds named in the post, by name, ticker, hashtag or handle; ``market`` says that the post speaks of the
crypto market as such, or of crypto and no coin. Coins that the table doesn't have are counted apart.

The rules were mended by the mistakes in one half of the labels ("tune"). The other ("held out") was read when it
was labelled and its totals were watched, but its mistakes weren't looked at, but for two: the rule for other languages
was mended by mistakes of both halves and of the files at large, so its held-out figure is no better than the other; and
a coin's later name, USTC, is in the table since such a post was labelled. The sample leans to ambiguous words and to
posts without a coin (40 and 25 % of each file where it has so many), so a plain stream is easier.

Speed is of normalising and linking together, and of each step alone: one core, CPU time, the best of the rounds.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from data.errors import InputError
from data.sample import sample_tables
from signals.coins import COINS
from signals.entities import Linker
from signals.language import is_english
from signals.text import normalise, tricks

LABELS: Final = Path(__file__).parents[1] / "tests" / "signals" / "labels" / "entities_500.csv"
DATA_ENV: Final = "TIDEGATE_REAL_DATA"
SAMPLE: Final = "embedded sample"


@dataclass
class Count:
    """Coins found and right, found and wrong, missed, and missed since the table lacks them."""

    posts: int = 0
    right: int = 0
    wrong: int = 0
    missed: int = 0
    unknown: int = 0

    @property
    def precision(self) -> float:
        """Share of what was found that is right."""
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        """Share found of what could be: coins of the table."""
        return self.right / max(1, self.right + self.missed)

    @property
    def recall_of_all(self) -> float:
        """Share found of all coins a reader names, those the table lacks included."""
        return self.right / max(1, self.right + self.missed + self.unknown)

    def add(self, found: set[str], named: set[str]) -> None:
        """One more post."""
        known = named & set(COINS)
        self.posts += 1
        self.right += len(found & named)
        self.wrong += len(found - named)
        self.missed += len(known - found)
        self.unknown += len(named - known)


def data_folder(given: Path | None) -> Path | None:
    """The folder with the text files, or None where there is none."""
    root = given or (Path(os.environ[DATA_ENV]) if os.environ.get(DATA_ENV) else None)
    folder = root / "text" if root else None
    return folder if folder and folder.is_dir() else None


def labelled(folder: Path) -> list[tuple[dict[str, str], str]]:
    """Labels and the texts they are of.

    Raises
    ------
    InputError
        A file is missing, or its row isn't the text that was labelled.
    """
    rows = list(csv.DictReader(LABELS.read_text(encoding="utf-8").splitlines()))
    columns = {key: _column(folder / key[0], key[1]) for key in {(row["file"], row["column"]) for row in rows}}
    pairs = []
    for row in rows:
        texts = columns[row["file"], row["column"]]
        at = int(row["row"])
        text = str(texts[at]) if at < len(texts) else ""
        if hashlib.sha256(text.encode()).hexdigest()[:8] != row["sha256"]:
            remedy = "Use the file that was labelled"
            raise InputError("not the labelled text", where=folder / row["file"], key="row", value=at, remedy=remedy)
        pairs.append((row, text))
    return pairs


def _column(path: Path, column: str) -> list[Any]:
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError("no such file", where=path, remedy="Give the folder that holds `text`, or leave --data out")
    values: list[Any] = pq.read_table(path, columns=[column])[column].to_pylist()
    return values


def judge(pairs: Sequence[tuple[Mapping[str, str], str]], linker: Linker) -> dict[str, dict[str, Count]]:
    """Counts by part and then by "coins", "market", "not English" and each file (coins)."""
    counts: dict[str, dict[str, Count]] = {}
    for row, text in pairs:
        part = counts.setdefault(row["part"], {})
        links = linker.link(text)
        named = set(filter(None, row["coins"].split(";")))
        for name in ("coins", row["file"]):
            part.setdefault(name, Count()).add(set(links.coins), named)
        _add_flag(part.setdefault("market", Count()), links.market, row["market"] == "1")
        _add_flag(part.setdefault("not English", Count()), not is_english(normalise(text)), row["english"] == "0")
    return counts


def _add_flag(count: Count, found: bool, true: bool) -> None:
    count.posts += 1
    count.right += found and true
    count.wrong += found and not true
    count.missed += true and not found


def speeds(texts: Sequence[str], linker: Linker, rounds: int) -> dict[str, float]:
    """Posts a second of each step on one core; ``link`` is normalising and linking together."""
    normal = [normalise(text) for text in texts]
    steps: dict[str, Callable[[], object]] = {
        "link": lambda: linker.link_many(texts),
        "normalise": lambda: [normalise(text) for text in texts],
        "mentions": lambda: [linker.mentions(text) for text in normal],
        "tricks": lambda: [tricks(text, plain) for text, plain in zip(texts, normal, strict=True)],
        "language": lambda: [is_english(text) for text in normal],
    }
    seconds = dict.fromkeys(steps, float("inf"))
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.process_time()
            step()
            seconds[name] = min(seconds[name], time.process_time() - began)
    return {name: len(texts) / max(spent, 1e-9) for name, spent in seconds.items()}


def post_texts(folder: Path | None) -> dict[str, list[str]]:
    """Texts to time: the posts of the embedded sample and, where there are files, each labelled column of them."""
    texts = {SAMPLE: [str(text) for text in sample_tables()["posts"]["text"].to_pylist()]}
    if folder:
        rows = csv.DictReader(LABELS.read_text(encoding="utf-8").splitlines())
        for name, column in sorted({(row["file"], row["column"]) for row in rows}):
            texts[f"{name} {column}"] = [str(text) for text in _column(folder / name, column) if text]
    return texts


def _quality_line(name: str, count: Count) -> str:
    return (
        f"  {name:44} {count.posts:4} posts  precision {count.precision:.3f}  recall {count.recall:.3f}"
        f"  right {count.right}, wrong {count.wrong}, missed {count.missed}, not in the table {count.unknown}"
    )


def main() -> None:
    """Judge, time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help=f"folder that holds `text` (else {DATA_ENV})")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--posts", type=int, default=20_000, help="at most so many are timed of each file")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    linker = Linker()
    folder = data_folder(asked.data)
    try:
        quality = judge(labelled(folder), linker) if folder else {}
        texts = {name: column[: asked.posts] for name, column in post_texts(folder).items()}
    except InputError as error:
        sys.exit(str(error))
    timed = {name: speeds(column, linker, asked.rounds) for name, column in texts.items()}
    timed["all together"] = {
        step: sum(map(len, texts.values())) / sum(len(texts[name]) / speed[step] for name, speed in timed.items())
        for step in timed[SAMPLE]
    }
    if not folder:
        print(f"labelled posts skipped: no --data and no {DATA_ENV} with a folder `text`", file=sys.stderr)
    if asked.json:
        plain = {part: {name: asdict(count) for name, count in counts.items()} for part, counts in quality.items()}
        print(json.dumps({"quality": plain, "posts_per_second": timed}))
        return
    for part, counts in quality.items():
        print(f"{part} (recall with coins the table lacks: {counts['coins'].recall_of_all:.3f})")
        print("\n".join(_quality_line(name, count) for name, count in counts.items()))
    print("posts a second on one core")
    for name, speed in timed.items():
        print(f"  {name:44} " + "  ".join(f"{step} {per_second:,.0f}" for step, per_second in speed.items()))


if __name__ == "__main__":
    main()
