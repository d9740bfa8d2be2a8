"""The models that may score posts: pinned revision, label order, how far their training reaches, licence.

A revision is part of every score. For a hub model it is a commit hash, which the user pins; for a local folder it is a
hash over its files; for the lexicon it is the package's version. A model whose training data ends after a backtest
begins has read of the future: `cutoff_warning` says so, and says so too when nobody declared a cutoff.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from data.errors import InputError
from signals.card_file import Calibration
from signals.folders import EMBEDDED, inspect_folder
from signals.labels import BEARISH, BULLISH, CLASSES, LABELS_REMEDY, NEUTRAL, marks, parse_labels

EMBEDDED_MODEL: Final = "tidegate-mini"
DEFAULT_MODEL: Final = EMBEDDED_MODEL
MAX_LENGTH: Final = 512
"""Tokens read of a text by a model that states no length of its own."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class ModelCard:
    """What is known of one model.

    Parameters
    ----------
    name : str
        As stored in the sentiment facts.
    kind : "lexicon" or "transformer"
    hub_id : str or None
        ``owner/name`` on the hub; None for a folder or a lexicon.
    revision : str or None
        What pins it, as stored in the facts; None for a registry entry that the user has to pin. For a hub model it
        begins with the commit hash; labels that only the user knows follow it, since other labels mean other scores.
    labels : tuple of str
        Class of each model output, by index. A class may stand for several outputs; their probabilities add up.
    cutoff : date or None
        Last day of any text the model has learnt from; None when nobody declared it.
    licence : str
    max_length : int
        Tokens (words, for a lexicon) read of each text.
    notes : str
        What a user has to know.
    folder : Path or None
        Where a local model lies.
    masks : bool
        It reads texts in which the coin asked for is "target" and the others are "other" (see `signals.mask`).
    english : bool
        It reads English only: posts in other languages get no score unless that is asked for.
    calibration : Calibration
        From logits to probabilities.
    thresholds : mapping of str to (low, high)
        By kind of source: a score of at most `low` is bearish, of at least `high` bullish.
    about : mapping
        What else its card says, for people: training sets, metrics, known failures, seed.
    """

    name: str
    kind: Literal["lexicon", "transformer"]
    hub_id: str | None
    revision: str | None
    labels: tuple[str, ...]
    cutoff: date | None
    licence: str
    max_length: int
    notes: str = ""
    folder: Path | None = None
    masks: bool = False
    english: bool = False
    calibration: Calibration = Calibration()
    thresholds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """Where it comes from, as shown to people."""
        if self.kind == "lexicon":
            return "lexicon"
        return self.hub_id or ("shipped" if self.folder == EMBEDDED else str(self.folder))

    @property
    def cutoff_ns(self) -> int | None:
        """End of the cutoff's day, ns UTC; None when unknown."""
        if self.cutoff is None:
            return None
        end = datetime.combine(self.cutoff, time(), UTC) + timedelta(days=1)
        return int(end.timestamp()) * 1_000_000_000

    @property
    def cutoff_text(self) -> str:
        """The cutoff as shown to people."""
        return "cutoff unknown" if self.cutoff is None else self.cutoff.isoformat()

    @property
    def notice(self) -> str:
        """What every output made with this model has to say; empty when there is nothing to say."""
        if self.kind == "lexicon":
            return f"{self.name} is a lexicon baseline, not a transformer: it counts words and misses what they mean"
        return "" if self.cutoff else f"{self.name}: cutoff unknown, it may have read texts from inside the tested span"

    @property
    def commit(self) -> str:
        """The commit hash of a pinned hub model."""
        return self.pinned[:40]

    @property
    def pinned(self) -> str:
        """The revision of a pinned card.

        Raises
        ------
        InputError
            When the card has none yet (see `resolve`).
        """
        if self.revision is None:
            raise unpinned(self.name, self.hub_id or self.name)
        return self.revision


_KNOWN: Final[dict[str, ModelCard]] = {
    card.name: card
    for card in (
        ModelCard(
            name="vader",
            kind="lexicon",
            hub_id=None,
            revision=None,
            labels=CLASSES,
            cutoff=date(2014, 12, 31),
            licence="MIT",
            max_length=MAX_LENGTH,
            english=True,
            notes="Lexicon of 2014 (package vaderSentiment): the baseline that a model has to beat",
        ),
        ModelCard(
            name="finbert",
            kind="transformer",
            hub_id="ProsusAI/finbert",
            revision=None,
            labels=(BULLISH, BEARISH, NEUTRAL),
            cutoff=date(2019, 8, 27),
            licence="Apache-2.0 (its code repository; the hub page states none)",
            max_length=512,
            english=True,
            notes="BERT-base on financial news; the cutoff is the date of its paper, an upper bound",
        ),
        ModelCard(
            name="cryptobert",
            kind="transformer",
            hub_id="ElKulako/cryptobert",
            revision=None,
            labels=(BEARISH, NEUTRAL, BULLISH),
            cutoff=date(2022, 6, 16),
            licence="none stated",
            max_length=128,
            english=True,
            notes="BERTweet-base on StockTwits, Telegram, Reddit and Twitter posts to 2022-06; finds headlines neutral",
        ),
        ModelCard(
            name="twitter-roberta",
            kind="transformer",
            hub_id="cardiffnlp/twitter-roberta-base-sentiment-latest",
            revision=None,
            labels=(BEARISH, NEUTRAL, BULLISH),
            cutoff=date(2021, 12, 31),
            licence="CC-BY-4.0",
            max_length=512,
            english=True,
            notes="RoBERTa-base on tweets of 2018-01 to 2021-12; general sentiment, not market direction",
        ),
    )
}


@cache
def registry() -> Mapping[str, ModelCard]:
    """The cards of all known models by name, the embedded one first; hub models are yet to be pinned."""
    return {EMBEDDED_MODEL: _embedded(), **_KNOWN}


def _embedded() -> ModelCard:
    """The shipped model: a folder like any other, under the name and with the words of its own card."""
    card = _from_folder(EMBEDDED, None)
    notes = "shipped with Tidegate: three layers distilled from MiniLM-L6, coins masked, calibrated"
    return replace(card, name=EMBEDDED_MODEL, notes=notes, english=True)


def resolve(name_or_id: str, labels: str | Sequence[str] | None = None, cutoff: date | str | None = None) -> ModelCard:
    """The pinned card of a model by registry name, hub id or folder.

    Parameters
    ----------
    name_or_id : str
        ``tidegate-mini``; ``vader``; ``finbert@<40 hex digits>`` or ``owner/name@<40 hex digits>``; or the path of
        a local folder.
    labels : str or sequence of str, optional
        Class of each model output in order (``"bearish,neutral,bullish"``). Goes before what a folder's config says;
        the registry's own labels are fixed.
    cutoff : date or str, optional
        Last day of the training texts, ``YYYY-MM-DD``.

    Raises
    ------
    InputError
        Unknown model, a hub model without a full commit hash, a folder that is no safe model, labels that are missing,
        ambiguous or not understood, a cutoff that is no date.
    """
    declared = None if labels is None else parse_labels(labels)
    until = parse_cutoff(cutoff) if isinstance(cutoff, str) else cutoff
    name, _, revision = name_or_id.partition("@")
    known = registry()
    if name in known:
        card = _from_registry(known[name], revision, declared)
    elif name_or_id.strip() and Path(name_or_id).expanduser().is_dir():
        card = _from_folder(Path(name_or_id).expanduser(), declared)
    elif _HUB_ID.fullmatch(name) and not name.startswith("."):
        card = _from_hub(name, revision, declared)
    else:
        raise InputError(
            "no such model",
            key="model",
            value=name_or_id,
            remedy=f"Give one of {', '.join(known)}, a hub id with its commit (owner/name@<40 hex digits>), or an "
            "existing folder with config.json, a tokenizer and safetensors",
        )
    return card if until is None else replace(card, cutoff=until)


def card_of(name: str) -> ModelCard:
    """What is known of a model by registry name (a hub model need not be pinned for that) or of a folder.

    Raises
    ------
    InputError
        No such model.
    """
    return registry().get(name) or resolve(name)


def imported_card(name: str, revision: str, cutoff: date | None) -> ModelCard:
    """The card of scores that were made elsewhere and imported under a name and revision of the user's."""
    return ModelCard(
        name=name,
        kind="transformer",
        hub_id=None,
        revision=revision,
        labels=(),
        cutoff=cutoff,
        licence="not stated",
        max_length=0,
        notes="scored elsewhere and imported; nothing is known of the model here but what its user said",
    )


def unpinned(name: str, hub_id: str, given: str | None = None) -> InputError:
    """The error for a hub model without a full commit hash."""
    return InputError(
        "a hub model has to be pinned to a full commit hash" if given else "a hub model without a pinned revision",
        key="model",
        value=f"{name}@{given}" if given else name,
        remedy=f"Take the hash of 40 hex digits from https://huggingface.co/{hub_id}/commits and write {name}@<hash>; "
        "that commit has to hold safetensors, which for many models only a conversion's commit does",
    )


def parse_cutoff(text: str) -> date:
    """A date from ``YYYY-MM-DD``."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        remedy = "Write the last day of the training texts as YYYY-MM-DD"
        raise InputError("not a date", key="cutoff", value=text, remedy=remedy) from None


def cutoff_warning(card: ModelCard, since_ns: int) -> str | None:
    """What a backtest from `since_ns` (ns UTC) has to say about the model's training data; None when all is well."""
    known = card.cutoff_ns
    if known is None:
        return f"{card.name}: cutoff unknown, it may have read texts from inside the tested span"
    if known <= since_ns:
        return None
    start = datetime.fromtimestamp(since_ns // 1_000_000_000, UTC).date().isoformat()
    return f"{card.name} learnt from texts up to {card.cutoff_text}; the test begins on {start}: it has seen the future"


def fingerprint(card: ModelCard, *means: str) -> str:
    """Hash of all that a cached score depends on besides the text; `means` is how it is computed."""
    facts = (card.name, card.kind, card.pinned, card.labels, card.max_length, card.masks, *means)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _from_registry(card: ModelCard, revision: str, labels: tuple[str, ...] | None) -> ModelCard:
    if labels not in (None, card.labels):
        raise _fixed_labels(card, labels)
    if card.kind == "lexicon":
        return _from_package(card, revision)
    if card.folder is not None:
        return _from_shipped(card, revision)
    if not _COMMIT.fullmatch(revision):
        raise unpinned(card.name, card.hub_id or card.name, revision)
    return replace(card, revision=revision)


def _from_shipped(card: ModelCard, revision: str) -> ModelCard:
    if revision not in ("", card.pinned):
        remedy = f"Shipped is {card.pinned}; leave the revision out, or install the version that shipped the other"
        raise InputError("another version is shipped", key="model", value=f"{card.name}@{revision}", remedy=remedy)
    return card


def _fixed_labels(card: ModelCard, labels: Sequence[str] | None) -> InputError:
    return InputError(
        f"the labels of {card.name} are {','.join(card.labels)}",
        key="labels",
        value=",".join(labels or ()),
        remedy="Leave them out; a model of your own goes into a folder",
    )


def _from_package(card: ModelCard, revision: str) -> ModelCard:
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("vaderSentiment")
    except PackageNotFoundError:
        remedy = "Install it: pip install vaderSentiment"
        raise InputError(
            "the package vaderSentiment is not installed", key="model", value=card.name, remedy=remedy
        ) from None
    if revision not in ("", installed):
        remedy = f"Installed is {installed}; leave the revision out, or install that version"
        raise InputError("another version is installed", key="model", value=f"{card.name}@{revision}", remedy=remedy)
    return replace(card, revision=installed)


def _from_hub(hub_id: str, revision: str, labels: tuple[str, ...] | None) -> ModelCard:
    if not _COMMIT.fullmatch(revision):
        raise unpinned(hub_id, hub_id, revision)
    known = next((card for card in _KNOWN.values() if card.hub_id == hub_id), None)
    if known is not None:
        return _from_registry(known, revision, labels)
    if labels is None:
        what = "the registry doesn't know what this model's outputs mean"
        raise InputError(what, key="labels", value=hub_id, remedy=LABELS_REMEDY)
    full = f"{revision}[{marks(labels)}]"
    return ModelCard(hub_id, "transformer", hub_id, full, labels, None, "not declared", MAX_LENGTH)


def _from_folder(folder: Path, labels: tuple[str, ...] | None) -> ModelCard:
    found = inspect_folder(folder, labels)
    return ModelCard(
        name=folder.resolve().name,
        kind="transformer",
        hub_id=None,
        revision=found.revision,
        labels=found.labels,
        cutoff=found.card.cutoff,
        licence=found.card.licence or "not declared",
        max_length=found.max_length or MAX_LENGTH,
        notes=f"local folder {folder}",
        folder=folder.resolve(),
        masks=found.masks,
        calibration=found.card.calibration,
        thresholds=found.card.thresholds,
        about=found.card.about,
    )
