"""The shipped model: small enough, its card whole, and good enough on probes and attacks of our own writing."""

import json
import re
from collections import Counter, defaultdict
from datetime import date
from functools import cache
from typing import Any

import pytest

from benchmarks.sentiment_attacks import attack_lines
from benchmarks.sentiment_judge import Judge, Line
from benchmarks.sentiment_lines import PROBES, bearish_headlines, probe_lines
from benchmarks.sentiment_posts.grammar import generated_rows, posts_hash, written_rows
from benchmarks.train_sentiment.card import HOW_CHOSEN, KNOWN_FAILURES
from benchmarks.train_sentiment.leaflet import LEAFLET, leaflet
from benchmarks.train_sentiment.run import Recipe
from signals.folders import EMBEDDED
from signals.models import resolve
from signals.scorer import Compute, open_scorer

SIZE_MAX = 18_000_000
ALIKE = 0.5
"""Share of five-letter pieces in common from which two posts count as near-duplicates."""


def card() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EMBEDDED / "card.json").read_text(encoding="utf-8"))
    return found


@cache
def lines() -> dict[str, Line]:
    """Probes and attacks on our own headlines, in fp32 so that the figures are the same everywhere."""
    scorer = open_scorer(resolve("tidegate-mini"), Compute(device="cpu", dtype="fp32"))
    judge = Judge(scorer, open_scorer(resolve("vader")), rounds=10)
    return {line.title: line for line in (*probe_lines(judge), *attack_lines(judge, bearish_headlines(None)))}


def test_size() -> None:
    assert sum(path.stat().st_size for path in EMBEDDED.iterdir()) <= SIZE_MAX


def test_card_is_whole() -> None:
    found = card()
    assert found["name"] == "tidegate-mini" and found["labels"] == ["bearish", "neutral", "bullish"]
    assert date.fromisoformat(found["cutoff"]) >= max(
        date.fromisoformat(fact["until"]) for fact in found["training"] if fact["until"]
    )
    assert found["licence"] == "Apache-2.0" and found["seed"] == 1
    assert set(found["thresholds"]) == {"social", "news", "default"}
    assert found["calibration"]["temperature"] > 0 and len(found["calibration"]["bias"]) == 3
    assert len(found["known_failures"]) >= 5 and found["metrics"]["validation"] and found["metrics"]["table"]
    for fact in found["training"]:
        assert fact["rows"] > 0 and fact["licence"] and re.fullmatch(r"[0-9a-f]{64}", fact["sha256"])


def test_the_command_that_trains_it_is_set_as_the_card_says() -> None:
    found, plain = card(), Recipe()
    teach, distil = ({**vars(plan), "seed": found["seed"]} for plan in (plain.teach, plain.distil))
    assert found["recipe"] == {
        "layers": plain.layers,
        "teach": teach,
        "distil": distil,
        "posts_an_epoch": plain.posts,
    }
    assert (found["known_failures"], found["how_chosen"]) == (list(KNOWN_FAILURES), HOW_CHOSEN)


def test_only_sets_whose_licence_is_confirmed_trained_it() -> None:
    named = " ".join(fact["name"] for fact in card()["training"]).lower()
    assert "cryptolin" not in named and "finentity" not in named
    assert {fact["licence"] for fact in card()["training"]} <= {"MIT", "Apache-2.0"}


def test_posts_in_the_repository_are_those_it_learnt_from() -> None:
    assert posts_hash() in {fact["sha256"] for fact in card()["training"]}


def test_page_says_what_the_card_says() -> None:
    assert (EMBEDDED / LEAFLET).read_text(encoding="utf-8") == leaflet(card())


def test_registry_shows_the_card() -> None:
    known = resolve("tidegate-mini")
    assert known.masks and known.cutoff_text == card()["cutoff"]
    assert known.thresholds["news"] == tuple(card()["thresholds"]["news"])


@pytest.mark.parametrize("kind", ["negated", "reversed sense", "slang"])
def test_probe_floors(kind: str) -> None:
    line = lines()[kind]
    assert line.holds, line


def test_plain_posts_are_read_right() -> None:
    assert lines()["plain"].value >= 0.95


@pytest.mark.parametrize("attack", ["prefix", "injected instruction", "exclamation", "look-alike letters"])
def test_attack_ceilings_on_our_own_headlines(attack: str) -> None:
    line = lines()[attack]
    assert line.rows >= 35 and line.holds, line


def test_no_probe_resembles_a_training_post() -> None:
    """By shared five-letter pieces of the masked text, against several fillings of every template."""
    posts = {row.text for seed in range(3) for row in generated_rows(10_000, (seed,), held=False, later=True)}
    posts |= {row.text for row in written_rows()}
    pieces = [_pieces(text) for text in sorted(posts)]
    holders = defaultdict(list)
    for at, found in enumerate(pieces):
        for piece in found:
            holders[piece].append(at)
    for probe in written_rows(PROBES):
        mine = _pieces(probe.text)
        shared = Counter(at for piece in mine for at in holders.get(piece, ()))
        for at, count in shared.most_common(20):
            assert count / len(mine | pieces[at]) < ALIKE, (probe.text, sorted(posts)[at])


def _pieces(text: str) -> set[str]:
    plain = " ".join(re.sub(r"[^a-z ]", "", text.lower()).split())
    return {plain[at : at + 5] for at in range(max(1, len(plain) - 4))}
