"""What feeds hand over becomes facts with the right times, or is set apart; nothing in between."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.facts import to_facts as rows_of
from data.feed import Batch, Candle, Card, Gone, Item, Reading, Spoilt, Terms, Written
from data.intake_feed import AHEAD_NS, FIRST_NS, FUTURE, UNDATED, to_facts
from data.times import HOUR_NS, MINUTE_NS, SECOND_NS

NOW = 1_760_000_040 * SECOND_NS  # on the grid of minutes
CARD = Card(
    name="made-up", title="Made up", kinds=("posts", "metrics", "bars"), live=True, history="assumed_lag",
    lag_ns=HOUR_NS, revises=False, terms=Terms(None, None, "none", "https://example.org"), per_minute=60,
    cost=Decimal(0),
)  # fmt: skip


def post(event_ns: int, **more: object) -> Written:
    """A post."""
    return Written("k", event_ns, "text", **more)  # type: ignore[arg-type]


def test_live_facts_are_known_when_they_arrived_and_history_when_its_source_says() -> None:
    live = Batch(
        [post(NOW - 9 * SECOND_NS, known_ns=1), Reading("flow", "BTC", NOW - HOUR_NS, 2.0)], NOW, source="site"
    )
    [told] = rows_of("posts", to_facts(CARD, [live], ingested_ns=NOW + 5).facts["posts"])
    assert (told.known_ns, told.quality, told.source, told.ingested_ns) == (NOW, "recorded", "site", NOW + 5)
    past = Batch(
        [
            Reading("flow", "BTC", NOW - 9 * HOUR_NS, 2.0),
            Reading("flow", "ETH", NOW - 9 * HOUR_NS, 2.0, known_ns=NOW - 8 * HOUR_NS + 1, quality="vendor_pit"),
        ],
        NOW,
        history=True,
    )
    found = {fact.coin: fact for fact in rows_of("metrics", to_facts(CARD, [past], ingested_ns=NOW).facts["metrics"])}
    assert (found["BTC"].known_ns, found["BTC"].quality) == (NOW - 8 * HOUR_NS, "assumed_lag")
    assert (found["ETH"].known_ns, found["ETH"].quality) == (NOW - 8 * HOUR_NS + 1, "vendor_pit")


def test_what_cannot_be_a_fact_is_set_apart_with_its_reason() -> None:
    bad: list[tuple[Item, str]] = [
        (post(NOW + AHEAD_NS + 1), FUTURE),
        (post(FIRST_NS - 1), UNDATED),
        (Written("", NOW, "text"), "no key"),
        (Written("k", NOW, "\u202e <"[:2]), "no text"),
        (Reading("flow", "BTC", NOW, math.nan), "not a finite number"),
        (Reading("", "BTC", NOW, 1.0), "no name"),
        (Candle("BTC/USDT", MINUTE_NS, NOW - MINUTE_NS, 1.0, 0.5, 2.0, 1.0, 1.0), ""),
        (Spoilt("{}", "odd"), "odd"),
    ]
    found = to_facts(CARD, [Batch([item for item, _ in bad], NOW)], ingested_ns=NOW)
    assert found.count == 0
    reasons = found.rejects["posts"]["reason"].to_pylist()
    assert len(reasons) == len(bad) and all(reasons)
    assert {reason for _, reason in bad if reason} <= set(reasons)


def test_a_bar_is_known_at_its_close_at_the_earliest() -> None:
    candle = Candle("BTC/USDT", MINUTE_NS, NOW, 1.0, 2.0, 0.5, 1.5, 10.0)
    [bar] = rows_of("bars", to_facts(CARD, [Batch([candle], NOW + 2)], ingested_ns=NOW).facts["bars"])
    assert bar.known_ns == NOW + MINUTE_NS


def test_deletions_and_sources() -> None:
    batches = [Batch([Gone("a"), Gone("b")], NOW), Batch([Gone("c")], NOW, source="site")]
    assert to_facts(CARD, batches, ingested_ns=NOW).gone == {"made-up": ["a", "b"], "site": ["c"]}


def test_history_of_a_source_that_declares_none_is_a_fault_of_its_file() -> None:
    from dataclasses import replace

    with pytest.raises(InputError, match="declares none"):
        to_facts(replace(CARD, history=""), [Batch([post(NOW)], NOW, history=True)], ingested_ns=NOW)


@given(
    st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)), max_size=20), st.booleans(),
    st.integers(FIRST_NS, 2**61),
)  # fmt: skip
def test_no_fact_is_known_before_it_happened_or_before_it_came(
    times: list[tuple[int, int]], history: bool, arrived: int
) -> None:
    items = [Written(f"k{at}", event, "text", known_ns=known) for at, (event, known) in enumerate(times)]
    found = to_facts(CARD, [Batch(items, arrived, history=history)], ingested_ns=arrived)
    bad = found.rejects["posts"].num_rows if found.rejects else 0
    assert found.count + bad == len(items)
    for fact in rows_of("posts", found.facts["posts"]) if found.facts else ():
        assert fact.known_ns >= fact.event_ns and fact.known_ns <= arrived + AHEAD_NS
        assert history or fact.known_ns >= arrived
