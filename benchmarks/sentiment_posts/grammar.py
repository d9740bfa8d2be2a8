"""The grammar of our training posts: templates and words rendered by a seeded generator, coins masked by our rules."""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.train_sentiment.sets import OWN, Row
from signals.entities import Linker, Mention
from signals.mask import MARKET_COIN, masked
from signals.text import normalise

HERE: Final = Path(__file__).parent
LABEL_OF: Final = {"+": 1, "0": 0, "-": -1}

SHARES: Final = {
    "reversed": 0.25, "negated": 0.23, "conditional": 0.05, "compare": 0.05, "slang": 0.09, "plain": 0.07,
    "headline": 0.21, "sarcasm": 0.05,
}  # fmt: skip
"""How much of an epoch's posts each kind makes up."""

LATER: Final = {"turns": 0.25}
"""Kinds that only the student sees, on top: reversed sense in more words, taught by the label, not by the teacher."""

_COINS: Final = (
    "bitcoin Bitcoin BTC btc $BTC #bitcoin ethereum ETH eth $ETH ether Solana SOL $SOL XRP $XRP Cardano $ADA Dogecoin "
    "DOGE $DOGE BNB $BNB Polkadot $DOT Litecoin LTC $LTC Chainlink $LINK Avalanche $AVAX MATIC $MATIC Tron $TRX "
    "SHIB $SHIB Uniswap $UNI Monero $XMR Cosmos $ATOM Stellar $XLM Aptos $APT Arbitrum $ARB PEPE $PEPE"
)
COINS: Final = tuple(_COINS.split())

HELD_SHARE: Final = 0.12
HELD_HEADLINES: Final = 0.25
"""Templates and written posts that never train but calibrate; more of the headlines, which fit a threshold alone."""

UNMASKED_SHARE: Final = 0.1
"""Coins left under their names: a linker doesn't know every coin."""

_SLOT = re.compile(r"\{(\w+)\}")
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_TAILS: Final = (
    "imo", "tbh", "ngl", "fr", "lol", "nfa", "dyor", "just saying", "#crypto", "#altcoins", "👀", "🤔", "!", "!!",
    "...", "what do you think?", "thread below", "via my newsletter", "(chart below)", "- report",
    "says {who}", "#trading",
)  # fmt: skip
_HEADS: Final = (
    "update:",
    "breaking:",
    "just in:",
    "so",
    "ok",
    "hmm",
    "lol",
    "news:",
    "btw",
    "RT",
    "well,",
    "honestly,",
)


@dataclass(frozen=True, slots=True)
class Template:
    """One line of the grammar; the second label is that of the second coin."""

    kind: str
    source: str
    labels: tuple[int, ...]
    text: str


@cache
def words() -> dict[str, tuple[str, ...]]:
    """Words by slot."""
    found = {}
    for line in _lines(HERE / "words.txt"):
        slot, _, listed = line.partition(":")
        found[slot.strip()] = tuple(word.strip() for word in listed.split(" | "))
    return found


@cache
def templates() -> tuple[Template, ...]:
    """All templates in file order."""
    found = []
    kind = source = ""
    for line in _lines(HERE / "templates.txt"):
        if line.startswith("["):
            kind, source = line.strip("[]").split()
            continue
        labels, _, text = line.partition(" | ")
        found.append(Template(kind, source, tuple(LABEL_OF[mark] for mark in labels.strip()), text.strip()))
    return tuple(found)


def written(name: str = "written.csv") -> list[tuple[str, int, str]]:
    """Posts written one by one: (kind, label, text)."""
    with (HERE / name).open(encoding="utf-8", newline="") as stream:
        return [(line["kind"], int(line["label"]), line["text"]) for line in csv.DictReader(stream)]


def posts_hash() -> str:
    """SHA-256 over everything that our training posts are made from."""
    digest = hashlib.sha256()
    for name in ("templates.txt", "words.txt", "written.csv"):
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()


def is_held(text: str, kind: str) -> bool:
    """Whether a template or post is kept out of training, for calibration and thresholds; by its hash."""
    digest = hashlib.sha256(text.encode()).digest()
    share = HELD_HEADLINES if kind == "headline" else HELD_SHARE
    return int.from_bytes(digest[:4], "big") < share * 2**32


def source_of(kind: str) -> str:
    """How posts of a kind reach us."""
    return "news" if kind == "headline" else "social"


def written_rows(name: str = "written.csv", *, held: bool | None = None) -> list[Row]:
    """Posts written one by one as rows, coins linked and masked by the product's own rules; one side of the split."""
    linker = Linker()
    rows = []
    for kind, label, text in written(name):
        if held is None or is_held(text, kind) == held:
            normal = normalise(text)
            shown = masked(normal, linker.mentions(normal), MARKET_COIN)
            rows.append(Row(shown, label, source_of(kind), f"{OWN}{kind}", normal))
    return rows


def generated_rows(count: int, seed: tuple[int, ...], *, held: bool, later: bool = False) -> list[Row]:
    """About `count` posts of the templates on one side of the split, each kind by its share; `later` adds those."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for kind, part in (SHARES | LATER if later else SHARES).items():
        choice = [each for each in templates() if each.kind == kind and is_held(each.text, kind) == held]
        wanted = round(part * count) if choice else 0
        for turn in range(wanted):
            if turn % len(choice) == 0:
                order = rng.permutation(len(choice))
            rows += render(choice[order[turn % len(choice)]], rng)
    return rows


def render(template: Template, rng: np.random.Generator) -> list[Row]:
    """One filling of a template: a row for each coin that has a label."""
    text = _fill(template.text, rng)
    if template.source == "social":
        text = _dressed(text, rng)
    elif rng.random() < 0.08:
        text = f"{text} {_pick(('- report', '- sources', '| analysis', '(update)'), rng)}"
    first, second = (COINS[at] for at in rng.choice(len(COINS), 2, replace=False))
    rows = []
    for label, asked in zip(template.labels, ("coin", "coin2"), strict=False):
        rows.append(Row(_coins(text, asked, first, second, rng), label, template.source, f"{OWN}{template.kind}", text))
    return rows


def _coins(text: str, asked: str, first: str, second: str, rng: np.random.Generator) -> str:
    """The coins put in and masked for the one asked; now and then under their own names."""
    spans: list[Mention] = []
    pieces: list[str] = []
    at = length = 0
    named = len(_SLOT.findall(text)) > 0 and "{coin2}" not in text and rng.random() < UNMASKED_SHARE
    for match in _SLOT.finditer(text):
        name = first if match[1] == "coin" else second
        pieces += text[at : match.start()], name
        length += match.start() - at
        if not named:
            spans.append(Mention(length, length + len(name), match[1]))
        length += len(name)
        at = match.end()
    whole = "".join([*pieces, text[at:]])
    return masked(whole, spans, asked)


def _fill(text: str, rng: np.random.Generator) -> str:
    """Every slot but the coins filled."""
    while True:
        match = next((match for match in _SLOT.finditer(text) if match[1] not in ("coin", "coin2")), None)
        if match is None:
            return text
        text = text[: match.start()] + _value(match[1], rng) + text[match.end() :]


def _value(slot: str, rng: np.random.Generator) -> str:
    if slot == "pct":
        size = rng.integers(1, 60) if rng.random() < 0.6 else round(float(rng.uniform(0.5, 30)), 1)
        return f"{size}%" if rng.random() < 0.8 else f"{size} percent"
    if slot == "usd":
        return f"${rng.integers(1, 900)}{_pick(('M', ' million', 'B', ' billion', 'm'), rng)}"
    if slot == "price":
        return _pick(("$", ""), rng) + _pick(
            (f"{rng.integers(1, 99)},000", f"{rng.integers(1, 99)}k", f"{rng.integers(1, 4000)}"), rng
        )
    if slot == "n":
        return str(rng.integers(2, 50))
    if slot == "day":
        return _pick(_DAYS, rng)
    return _pick(words()[slot], rng)


def _dressed(text: str, rng: np.random.Generator) -> str:
    """What people hang around a post that says nothing of its sense."""
    luck = rng.random(3)
    if luck[0] < 0.12:
        text = f"{_pick(_HEADS, rng)} {text}"
    if luck[1] < 0.22:
        text = f"{text} {_fill(_pick(_TAILS, rng), rng)}"
    if luck[2] < 0.05:
        text = text.upper() if "{" not in text else text
    return text


def _pick(choice: tuple[str, ...] | list[str], rng: np.random.Generator) -> str:
    return choice[int(rng.integers(len(choice)))]


def _lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]
