"""Scoring by coin and by cluster: masked texts, near-duplicates not scored again, flags, languages, resuming."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data.facts import FOREIGN, LOOK_ALIKES, PREFIXED, SPAM_LIKE
from data.store import Store
from signals.duplicates import cluster_id
from signals.models import ModelCard, resolve
from signals.score_report import ScoreOptions, ScoreReport
from signals.scorer import Compute
from signals.scoring import score_posts
from signals.text import normalise
from tests.signals.score_helpers import CARD, Clock, Echo, facts, posts
from tests.signals.tiny_bert import write_tiny_int8

MASKED = replace(CARD, masks=True)
ENGLISH = resolve("vader")
SPANISH = "el precio del bitcoin no para de subir"
TEMPLATE = "huge bitcoin giveaway today, send it to the address in my bio and double it, only the first 100 people"


def store_of(var: Path, texts: Sequence[str]) -> Store:
    made = Store(var)
    made.append("posts", posts(texts))
    return made


def run(store: Store, echo: Echo, card: ModelCard = CARD, **options: Any) -> ScoreReport:
    return score_posts(store, card, Compute(), Clock(), None, ScoreOptions(scorer=echo, **options))


def test_each_coin_has_a_text_of_its_own(var: Path) -> None:
    store = store_of(var, ["ETH up while no: BTC is down", "bitcoin and ethereum", "crypto market is dead"])
    echo = Echo()
    run(store, echo, MASKED)
    assert echo.asked == [
        "target up while no: other is down",
        "other up while no: target is down",
        "target and other",
        "other and target",
        "crypto market is dead",
    ]
    assert [(row["key"], row["coin"]) for row in facts(store)] == [
        ("p0", "BTC"), ("p0", "ETH"), ("p1", "BTC"), ("p1", "ETH"), ("p2", "*"),
    ]  # fmt: skip


def test_coins_of_one_post_can_differ_in_score(var: Path) -> None:
    class ByTarget(Echo):
        def row(self, text: str) -> list[float]:
            return [0.7, 0.2, 0.1] if text.startswith("other") else [0.1, 0.2, 0.7]

    store = store_of(var, ["ETH beats BTC"])
    run(store, ByTarget(), MASKED)
    assert {row["coin"]: row["score"] > 0 for row in facts(store)} == {"ETH": True, "BTC": False}


def test_a_coin_without_a_score_leaves_the_others_theirs_and_is_tried_again(var: Path) -> None:
    class HalfBad(Echo):
        def row(self, text: str) -> list[float]:
            return [float("nan")] * 3 if text.startswith("other") else [0.1, 0.2, 0.7]

    store = store_of(var, ["ETH beats BTC"])
    first = run(store, HalfBad(), MASKED)
    assert (first.failed, first.linked, first.rows_added) == (1, 0, 1)
    again = run(store, Echo(), MASKED)
    assert (again.failed, again.linked, again.rows_added) == (0, 1, 1)
    assert {row["coin"] for row in facts(store)} == {"ETH", "BTC"}


def test_posts_about_nothing_are_done_without_a_model(var: Path) -> None:
    report = run(store_of(var, ["good morning", "lunch"]), Echo(error=RuntimeError, stop_after=0))
    assert (report.unlinked, report.done, report.rows_added) == (2, 2, 0)


def test_near_duplicates_take_the_first_ones_score(var: Path) -> None:
    store = store_of(var, [TEMPLATE, TEMPLATE.replace("100", "250"), f"@ann {TEMPLATE}!", "ethereum is fine"])
    echo = Echo()
    report = run(store, echo)
    assert echo.asked == [TEMPLATE, "ethereum is fine"]
    assert (report.near_duplicates, report.scores_borrowed, report.texts_scored, report.linked) == (2, 2, 2, 4)
    rows = facts(store)
    assert [row["cluster"] for row in rows[:3]] == [cluster_id(TEMPLATE)] * 3
    assert rows[3]["cluster"] == cluster_id("ethereum is fine")
    assert len({row["score"] for row in rows[:3]}) == 1


def test_near_duplicates_are_scored_when_asked(var: Path) -> None:
    store = store_of(var, [TEMPLATE, TEMPLATE.replace("100", "250")])
    echo = Echo()
    report = run(store, echo, rescore_duplicates=True)
    assert len(echo.asked) == 2
    assert (report.near_duplicates, report.scores_borrowed) == (1, 0)
    assert len({row["cluster"] for row in facts(store)}) == 1


def test_a_template_with_another_direction_has_a_score_of_its_own(var: Path) -> None:
    text = "bitcoin alert from the daily bot: the price went up in the last hour on every exchange that we follow"
    store = store_of(var, [text, text.replace(" up ", " down ").replace("alert", "no: alert")])
    echo = Echo()
    report = run(store, echo)
    assert len(echo.asked) == 2
    assert (report.near_duplicates, report.scores_borrowed) == (1, 0)
    assert [row["score"] > 0 for row in facts(store)] == [True, False]


def test_a_near_duplicate_about_another_coin_is_scored_for_it(var: Path) -> None:
    store = store_of(var, [TEMPLATE, TEMPLATE.replace("bitcoin", "ethereum")])
    echo = Echo()
    run(store, echo)
    assert len(echo.asked) == 2
    assert len({row["cluster"] for row in facts(store)}) == 1


def test_clusters_go_on_in_the_next_run_and_in_pieces(var: Path, tmp_path: Path) -> None:
    texts = [TEMPLATE.replace("100", str(number)) for number in range(6)] + ["solana is quick", "solana is quick!"]
    store, whole = store_of(var, texts[:3]), store_of(tmp_path / "whole", texts)
    run(whole, Echo())
    run(store, Echo())
    store.append("posts", posts(texts[3:], first=3))
    echo = Echo()
    report = run(store, echo)
    assert echo.asked == ["solana is quick"]
    assert report.near_duplicates == 4
    assert store.digest("sentiment") == whole.digest("sentiment")


def test_a_lost_cache_gives_the_same_clusters_again(var: Path) -> None:
    store = store_of(var, [TEMPLATE, "solana is quick"])
    run(store, Echo())
    for path in (store.var / "cache" / "scores").iterdir():
        path.unlink()
    store.append("posts", posts([TEMPLATE.replace("100", "7")], first=5))
    echo = Echo()
    run(store, echo)
    assert echo.asked == [normalise(TEMPLATE.replace("100", "7"))]  # the first one's score is only in the store
    assert facts(store)[-1]["cluster"] == cluster_id(TEMPLATE)


def test_flags_are_stored(var: Path) -> None:
    texts = [
        "BULLISH: bitcoin falls",
        "Bіtcоin is fine",
        "$BTC $ETH $SOL $XRP",
        "el precio del bitcoin no para de subir",
    ]
    store = store_of(var, texts)
    report = run(store, Echo(), replace(CARD, english=True))
    assert (report.spam, report.foreign, report.linked, report.done) == (1, 1, 2, 4)
    assert {row["key"]: row["flags"] for row in facts(store)} == {"p0": PREFIXED, "p1": LOOK_ALIKES}
    report = run(store, Echo(), replace(CARD, english=True), keep_spam=True, keep_foreign=True)
    flags = {row["key"]: row["flags"] for row in facts(store)}
    assert (flags["p2"], flags["p3"]) == (SPAM_LIKE, FOREIGN)
    assert report.rows_added == 5


def test_a_model_of_ones_own_may_read_other_languages(var: Path, tmp_path: Path) -> None:
    store = store_of(var, [SPANISH])
    card = resolve(str(write_tiny_int8(tmp_path / "mine")))
    report = score_posts(store, card, Compute("cpu"), Clock())
    assert (report.linked, report.foreign) == (1, 0)
    assert facts(store, card)[0]["flags"] == FOREIGN


@pytest.mark.parametrize("masks", [True, False])
def test_a_folder_says_whether_it_reads_masked_texts(var: Path, tmp_path: Path, masks: bool) -> None:
    store = store_of(var, ["buy bitcoin, sell ethereum"])
    card = resolve(str(write_tiny_int8(tmp_path / "mine", masks=masks)))
    report = score_posts(store, card, Compute("cpu", dtype="fp32"), Clock())
    assert report.texts_scored == (2 if masks else 1)
    assert len({row["score"] for row in facts(store, card)}) == (2 if masks else 1)
