"""The job from posts to sentiment: what is scored, when it is known, and that nothing is done twice or lost."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data.errors import InputError
from data.store import Store
from data.times import HOUR_NS, SECOND_NS
from signals import scoring
from signals.entities import Linker
from signals.models import fingerprint, resolve
from signals.score_report import SCORE_DELAY_NS, ScoreOptions, ScoreProgress, ScoreReport
from signals.scorer import Compute
from signals.scoring import score_posts
from tests.signals.score_helpers import CARD, T0, Clock, Echo, facts, posts
from tests.signals.tiny_bert import write_tiny_bert

UNLIKE = ["mining pools", "ordinals", "halving", "whitepaper", "custody", "lightning", "treasury", "jack", "seoul"]
TEXTS = ["bitcoin up", "good morning", "ETH and BTC down", "crypto is dead", "$BTC $ETH $SOL $GEM", "bitcoin up"]


@pytest.fixture
def store(var: Path) -> Store:
    made = Store(var)
    made.append("posts", posts(TEXTS))
    return made


def run(store: Store, scorer: Any = None, progress: Any = None, **options: Any) -> ScoreReport:
    return score_posts(store, CARD, Compute(), Clock(), progress, ScoreOptions(scorer=scorer or Echo(), **options))


def test_one_row_for_each_coin_of_each_post(store: Store) -> None:
    echo = Echo()
    report = run(store, echo)
    rows = facts(store)
    assert [(row["key"], row["coin"]) for row in rows] == [
        ("p0", "BTC"), ("p2", "BTC"), ("p2", "ETH"), ("p3", "*"), ("p5", "BTC"),
    ]  # fmt: skip
    assert echo.asked == ["bitcoin up", "ETH and BTC down", "crypto is dead"]
    assert (report.posts, report.already, report.linked, report.unlinked, report.spam) == (6, 0, 4, 1, 1)
    assert (report.done, report.rows_added, report.texts_scored, report.failed) == (6, 5, 3, 0)
    assert (report.model, report.model_revision, report.device) == ("vader", CARD.pinned, "abacus")
    assert "lexicon baseline" in report.notice
    assert not report.interrupted
    assert report.posts_per_second > 0
    first = rows[0]
    assert (first["p_bearish"], first["p_neutral"], first["p_bullish"], first["score"]) == (0.25, 0.25, 0.5, 0.25)
    assert (first["source"], first["author"], first["followers"], first["event_ns"]) == ("here", "ann", 12.0, T0)
    assert (first["model"], first["model_revision"]) == ("vader", CARD.pinned)


def test_a_second_run_does_nothing_and_opens_no_model(store: Store) -> None:
    run(store)
    before = store.digest("sentiment")
    report = score_posts(store, CARD, Compute("no such device"), Clock())
    assert (report.already, report.done, report.texts_scored) == (6, 0, 0)
    assert store.digest("sentiment") == before


def test_new_posts_only(store: Store) -> None:
    run(store)
    store.append("posts", posts(["bitcoin up", "doge up"], first=20))
    echo = Echo()
    report = run(store, echo)
    assert echo.asked == ["doge up"]
    assert (report.already, report.linked, report.texts_cached, report.rows_added) == (6, 2, 1, 2)


def test_backfilled_scores_are_known_a_declared_delay_after_their_posts(store: Store) -> None:
    store.append("posts", posts(["bitcoin"], first=10, quality="recorded"))
    store.append("posts", posts(["bitcoin"], first=11, quality="revised"))
    run(store, delay_ns=7 * SECOND_NS)
    rows = {row["key"]: row for row in facts(store)}
    assert rows["p0"]["known_ns"] == T0 + 67 * SECOND_NS
    assert [rows[key]["quality"] for key in ("p0", "p10", "p11")] == ["assumed_lag", "assumed_lag", "revised"]
    assert rows["p0"]["ingested_ns"] > T0 + 1000 * HOUR_NS
    assert SCORE_DELAY_NS == 2 * SECOND_NS
    with pytest.raises(InputError, match="before its post"):
        run(store, delay_ns=-1)


def test_live_scores_are_known_by_the_clock(store: Store) -> None:
    later = T0 + 5000 * HOUR_NS
    store.append("posts", posts(["bitcoin"], first=10, quality="recorded"))
    store.append("posts", posts(["bitcoin"], first=11, quality="recorded", known_ns=later))
    run(store, live=True)
    rows = {row["key"]: row for row in facts(store)}
    assert T0 + 1000 * HOUR_NS < rows["p0"]["known_ns"] < T0 + 1001 * HOUR_NS
    assert rows["p0"]["known_ns"] == rows["p0"]["ingested_ns"]
    assert [rows[key]["quality"] for key in ("p0", "p10")] == ["assumed_lag", "recorded"]
    assert rows["p11"]["known_ns"] == later  # never before its post


def test_an_edited_post_is_scored_again_known_after_the_edit(store: Store) -> None:
    run(store)
    edit = T0 + 50 * HOUR_NS
    changed = posts(["bitcoin up, no: down"], known_ns=edit)
    same_text = posts(["crypto is dead"], first=3, known_ns=edit, author="bob")
    store.append("posts", pa.concat_tables([changed, same_text]))
    echo = Echo()
    report = run(store, echo)
    assert echo.asked == ["bitcoin up, no: down"]
    assert (report.posts, report.already, report.linked, report.unchanged) == (8, 6, 1, 1)
    row = next(row for row in facts(store) if row["key"] == "p0" and row["known_ns"] > T0 + HOUR_NS)
    assert row["known_ns"] == edit + SCORE_DELAY_NS
    assert run(store).done == 0


def test_an_edit_is_a_revision_of_the_sentiment_when_its_score_differs(store: Store) -> None:
    store.append("posts", posts(["bitcoin down, terrible disaster"], known_ns=T0 + 50 * HOUR_NS))
    report = score_posts(store, CARD, Compute(), Clock())
    assert report.rows_revised == 1
    rows = [row for row in facts(store) if row["key"] == "p0"]
    assert [row["revision"] for row in rows] == [0, 1]
    assert rows[0]["score"] == 0.0
    assert rows[1]["score"] < -0.5


def test_a_text_without_a_score_is_missing_never_zero_and_tried_again(store: Store) -> None:
    store.append("posts", posts(["BAD bitcoin", "BAD bitcoin", "solana"], first=10))
    report = run(store)
    assert report.failed == 2
    assert {row["key"] for row in facts(store)}.isdisjoint({"p10", "p11"})
    echo = Echo()
    again = run(store, echo)
    assert echo.asked == ["BAD bitcoin"]
    assert (again.already, again.failed) == (7, 2)


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C is heard, also where whoever runs the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_ctrl_c_keeps_what_is_scored(store: Store) -> None:
    store.append("posts", posts([f"bitcoin {word}" for word in UNLIKE], first=10))
    report = run(store, Echo(stop_after=4))
    assert report.interrupted
    assert (report.texts_scored, report.linked) == (4, 5)
    assert len(facts(store)) == 6
    echo = Echo()
    rest = run(store, echo)
    assert len(echo.asked) == 12 - 4
    assert not rest.interrupted
    assert rest.done == 15 - report.done
    assert len(facts(store)) == 5 + 9


def test_a_killed_run_repeats_only_the_batch_under_way(store: Store) -> None:
    with pytest.raises(RuntimeError):
        run(store, Echo(stop_after=2, error=RuntimeError))
    assert facts(store) == []
    echo = Echo()
    report = run(store, echo)
    assert echo.asked == ["crypto is dead"]
    assert (report.texts_cached, report.rows_added) == (2, 5)


def test_ctrl_c_while_storing_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    append = Store.append
    calls = []

    def once_interrupted(self: Store, *values: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            append(self, *values, **named)
            raise KeyboardInterrupt
        return append(self, *values, **named)

    monkeypatch.setattr(Store, "append", once_interrupted)
    report = run(store)
    assert report.interrupted
    assert report.done == 6
    assert len(facts(store)) == 5
    assert run(store).already == 6


def test_many_chunks_and_windows_give_the_same_facts(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = Store(tmp_path / "whole")
    for made in (store, whole):
        made.append("posts", posts([f"bitcoin {number % 7}" for number in range(40)], first=10))
        made.append("posts", posts(["eth"] * 9, first=60, known_ns=T0 + 90 * HOUR_NS))
    whole.append("posts", posts(TEXTS))
    run(whole)
    monkeypatch.setattr(scoring, "CHUNK_POSTS", 3)
    monkeypatch.setattr(scoring, "WINDOW_POSTS", 4)
    echo = Echo()
    report = run(store, echo)
    assert report.done == 6 + 40 + 9
    assert len(echo.asked) == len(set(echo.asked))
    assert store.digest("sentiment") == whole.digest("sentiment")


def test_removed_facts_are_made_again_from_the_cache(store: Store) -> None:
    run(store)
    before = facts(store)
    for path in sorted((store.root / "sentiment").iterdir()):
        path.unlink()
    echo = Echo()
    report = run(store, echo)
    assert echo.asked == []
    assert (report.already, report.linked) == (2, 4)
    assert [row["payload"] for row in facts(store)] == [row["payload"] for row in before]


def test_a_removed_cache_costs_no_second_score(store: Store) -> None:
    run(store)
    before = store.digest("sentiment")
    for path in (store.var / "cache" / "scores").iterdir():
        path.unlink()
    echo = Echo()
    report = run(store, echo)
    assert echo.asked == []
    assert (report.already, report.linked, report.unlinked, report.spam) == (0, 4, 1, 1)
    assert store.digest("sentiment") == before


def test_new_aliases_add_rows_and_repeat_none(store: Store, tmp_path: Path) -> None:
    run(store)
    path = tmp_path / "aliases.toml"
    path.write_text('[XMR]\nnames = ["good morning"]\n[ETC]\nnames = ["up"]\n', encoding="utf-8")
    echo = Echo()
    report = run(store, echo, linker=Linker.with_aliases(path))
    assert echo.asked == ["good morning"]
    assert report.rows_added == 3
    assert {(row["key"], row["coin"]) for row in facts(store)} >= {("p0", "ETC"), ("p1", "XMR"), ("p5", "ETC")}


def test_spam_like_posts_on_request_and_a_chosen_span(store: Store) -> None:
    report = run(store, since_ns=T0 + 3 * HOUR_NS, until_ns=T0 + 5 * HOUR_NS, keep_spam=True)
    assert report.posts == 2
    assert {row["key"] for row in facts(store)} == {"p3", "p4"}
    assert run(store, sources=["elsewhere"]).posts == 0


def test_progress_tells_rate_and_time_left(store: Store) -> None:
    seen: list[ScoreProgress] = []
    run(store, Echo(), seen.append)
    assert [step.done for step in seen] == sorted(step.done for step in seen)
    assert (seen[-1].done, seen[-1].total, seen[-1].left_s) == (6, 6, 0.0)
    assert seen[1].posts_per_second > 0


def test_an_empty_store(var: Path) -> None:
    report = run(Store(var))
    assert (report.posts, report.done, report.interrupted) == (0, 0, False)


def test_a_damaged_cache_is_named(store: Store) -> None:
    folder = store.var / "cache" / "scores"
    folder.mkdir(parents=True)
    path = folder / f"{fingerprint(CARD, 'fp32', 'torch', 'lead')[:32]}.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(InputError, match="score cache is damaged") as caught:
        run(store)
    assert "Delete it" in str(caught.value)
    path.unlink()
    assert run(store).done == 6


def test_a_cache_that_can_not_be_made_is_named(store: Store) -> None:
    (store.var / "cache").write_bytes(b"")
    with pytest.raises(InputError, match="cache"):
        run(store)


def test_from_posts_to_facts_with_a_transformer(store: Store, tmp_path: Path) -> None:
    card = resolve(str(write_tiny_bert(tmp_path / "tiny")))
    report = score_posts(store, card, Compute("cpu", batch_tokens=64), Clock())
    rows = facts(store, card)
    assert (report.linked, report.texts_scored, report.device) == (4, 3, "cpu")
    assert "cutoff unknown" in report.notice
    assert all(row["model_revision"] == card.pinned for row in rows)
    for row in rows:
        assert row["p_bearish"] + row["p_neutral"] + row["p_bullish"] == pytest.approx(1.0, abs=1e-6)
        assert row["score"] == row["p_bullish"] - row["p_bearish"]
    run(store)
    assert len(facts(store)) == len(rows)  # another model's scores stand beside them
