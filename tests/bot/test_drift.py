"""A drift's figures where they are known beforehand: fills made by hand, and a paper session, which has none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backtest.spec import RunSpec
from bot.drift import Drift, compare
from bot.drift_costs import fitted_costs, snippet
from bot.drift_pairs import Pair, Part, add_effects_of_one, asked_of, effects_of_both
from bot.drift_report import body_of
from bot.events import Condition, Event, Operator, Transfer
from bot.terminal import clean
from bot.verbs_drift import show
from data.errors import InputError, WorkError
from risk import records as rec
from tests.backtest.oracles.sampled import Everything, sampled
from tests.bot.drift_worlds import HOUR, SECOND, Fills, session, spec_for

Day = tuple[RunSpec, list[Event], list[Event]]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """A stretch of the sample as a session's events."""
    return spec_for(sampled(tmp_path_factory.mktemp("drift"), hours=420))


def drift_of(day: Day, fills: Fills | None, *, hours: int = 200) -> Drift:
    """A session, compared."""
    spec, warm, live = day
    journal, header, _ = session(spec, warm, live, fills, hours=hours)
    found = compare(spec, journal, header)
    assert sum(found.causes.values()) == pytest.approx(found.difference, abs=1e-9)
    assert abs(found.causes["other"]) < 1e-6
    return found


def costs_of(found: Drift) -> dict[str, Any]:
    """By key."""
    return {cost.key: cost for cost in fitted_costs(found)}


def test_a_paper_session_has_no_drift(day: Day, capsys: pytest.CaptureFixture[str]) -> None:
    """Fill for fill the same, nothing by any cause, nothing to fit."""
    found = drift_of(day, None)
    body = body_of(found)
    assert body["same"] and found.difference == 0.0 and set(found.causes.values()) == {0.0}
    assert len(found.live.fills) > 20 and body["missed"] == body["unmatched"] == 0 and not body["costs"]
    show(body, 5)
    assert "no drift" in capsys.readouterr().out


def test_known_slippage_fees_and_delay_are_found(day: Day) -> None:
    """5 bps worse than the open for 2 simulated, 7.5 bps of fee for 10, 320 ms for 250."""
    found = drift_of(day, Fills())
    body = body_of(found)
    costs = costs_of(found)
    count = len(found.live.fills)
    assert count > 20 and body["missed"] + body["unmatched"] <= 2  # another size by a hair: one trade less
    for key, value in (("taker_bps", 7.5), ("spread_bps", 5.0), ("latency_ms", 320.0)):
        assert costs[key].value == pytest.approx(value, abs=1e-3), key
        assert costs[key].low == pytest.approx(value, abs=1e-3) and costs[key].high == pytest.approx(value, abs=1e-3)
        assert costs[key].count == count
    assert (costs["taker_bps"].now, costs["spread_bps"].now, costs["latency_ms"].now) == pytest.approx((10, 2, 250))
    assert costs["maker_bps"].value is None and "maker_bps: 0 fills are too few" in snippet(list(costs.values()))
    assert body["delay_ms"]["first_fill"]["median"] == pytest.approx(320.0)
    assert body["live"]["fees_bps"] == pytest.approx(7.5) and body["simulated"]["fees_bps"] == pytest.approx(10.0)
    traded = found.traded
    assert found.causes["price"] / traded == pytest.approx(-3e-4, rel=0.01)
    assert found.causes["fees"] / traded == pytest.approx(2.5e-4, rel=0.1)
    assert found.causes["timing"] == pytest.approx(0.0, abs=1e-9)
    extra = body["live"]["slippage_bps"] - body["simulated"]["slippage_bps"]
    assert extra == pytest.approx(3.0, abs=0.1)


def test_fills_that_never_came_are_missed(day: Day) -> None:
    """Every fourth order expires unfilled: those pairs are missed, and the difference is theirs."""
    found = drift_of(day, Fills(slip=0.0002, fee=0.001, share=lambda number: 0.0 if number % 4 == 0 else 1.0))
    body = body_of(found)
    unfilled = [order for order in found.live.orders if order["id"] % 4 == 0 and order["done_ns"]]
    assert len(unfilled) > 5 and body["live"]["ended"]["expired"] == len(unfilled)
    assert body["missed"] > 0
    assert abs(found.causes["missed"]) + abs(found.causes["size"]) > 100 * abs(found.causes["price"])


def test_fills_in_part(day: Day) -> None:
    """60% of every other order fills: that is its share, and hardly a fill is missed whole."""
    found = drift_of(day, Fills(share=lambda number: 0.6 if number % 2 else 1.0))
    body = body_of(found)
    assert body["live"]["partly_filled"] > 3
    assert 0.65 < body["live"]["share_filled"] < 0.95 and body["simulated"]["share_filled"] == pytest.approx(1.0)
    assert found.causes["missed"] != 0.0


def test_fills_a_bar_later_are_a_matter_of_timing(day: Day) -> None:
    """At the open of the bar after, without slippage: the move between the opens, and no spread can be fitted."""
    found = drift_of(day, Fills(slip=0.0002, fee=0.001, bars_late=1))
    assert abs(found.causes["timing"]) > 10 * abs(found.causes["price"])
    assert costs_of(found)["spread_bps"].value is None
    assert costs_of(found)["latency_ms"].value == pytest.approx(3_600_320.0)


def test_few_fills_fit_nothing(day: Day) -> None:
    """Nine are too few, and it says so."""
    found = drift_of(day, Fills(), hours=44)
    assert 0 < len(found.live.fills) < 10
    assert all(cost.value is None for cost in fitted_costs(found))
    assert "too few to fit; 10 are needed" in snippet(fitted_costs(found))


def test_stops_are_paired_by_the_position_that_they_close(tmp_path: Path) -> None:
    """On paper the same; live a venue whose stops never trigger: each that was simulated is missed."""
    guarded = spec_for(sampled(tmp_path, hours=420), strategy=Everything())
    assert body_of(drift_of(guarded, None))["same"]
    found = drift_of(guarded, Fills(slip=0.0002, fee=0.001))
    stops = [pair for pair in found.pairs if pair.purpose in (rec.STOP_LOSS, rec.TRAILING)]
    assert stops and all(pair.missed and pair.live.asked == 0.0 for pair in stops)


def test_what_the_venue_says_of_itself_happens_to_one_side_only(day: Day) -> None:
    """A stream that is down stops new risk live; money paid in and a person's word reach both."""
    spec, warm, live = day
    at = live[0].ns + 40 * HOUR + 30 * SECOND
    told: list[Event] = [
        Transfer(ns=at, amount=5_000.0, person="p", reason="r"),
        Condition(ns=at + 1, cause="stream", on=True, text="down"),
        Condition(ns=at + 30 * HOUR, cause="stream", on=False),
        Operator(ns=at + 60 * HOUR, act="close", person="p", reason="r", symbol=spec.symbols[0]),
    ]
    events = sorted([*live, *told], key=lambda event: event.ns)
    journal, header, _ = session(spec, warm, events, Fills(slip=0.0002, fee=0.001))
    found = compare(spec, journal, header)
    assert found.live.equity > 13_000 and found.simulated.equity > 13_000
    assert sum(found.causes.values()) == pytest.approx(found.difference, abs=1e-9)
    assert abs(found.causes["other"]) < 1e-6
    assert body_of(found)["missed"] > 0


def test_no_line_is_wider_than_eighty_columns(day: Day, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables, costs and limits; and the figures are JSON."""
    body = body_of(drift_of(day, Fills(share=lambda number: 0.0 if number % 5 == 0 else 1.0)))
    show(body, 6)
    out, err = capsys.readouterr()
    assert "spread_bps = " in out and "One session is one draw" in err and "missed" in out
    assert max(len(line) for line in out.splitlines()) <= 80, out
    assert clean(body)["causes"]["price"]["quote"] < 0.0


def test_what_can_not_be_compared_is_refused(day: Day) -> None:
    """No bar after a decision; a record that doesn't come out the same again."""
    spec, warm, live = day
    journal, header, _ = session(spec, warm, live, Fills(), hours=1)
    with pytest.raises(InputError, match="too short"):
        compare(spec, journal, header)
    journal, header, _ = session(spec, warm, live, Fills(), hours=60)
    other = replace(spec, cash=5_000.0)
    with pytest.raises(WorkError, match="tidegate replay"):
        compare(other, journal, header)


def test_orders_that_replace_each_other_ask_once() -> None:
    """Two slices at a time add up; one sent anew for the rest of another doesn't."""

    def order(decided: int, done: int, qty: float, filled: float) -> dict[str, float]:
        return {"decided_ns": decided, "done_ns": done, "qty": qty, "filled": filled}

    assert asked_of([order(1, 9, 2.0, 2.0), order(1, 8, 3.0, 3.0)]) == 5.0
    assert asked_of([order(1, 5, 2.0, 0.5), order(5, 9, 1.5, 1.5)]) == 2.0
    assert asked_of([order(1, 5, 2.0, 0.0), order(6, 0, 2.0, 0.0)]) == 2.0


def test_effects_of_a_pair_add_up() -> None:
    """A sale of 3 of 4 asked, beside 5 of 5, by hand; what is missing is made up for by a later sale of 2, or isn't."""
    live = Part(asked=4.0, filled=3.0, notional=3 * 99.0, at_open=3 * 98.0, fee_end=0.3, first_ns=1)
    simulated = Part(asked=5.0, filled=5.0, notional=5 * 100.0, at_open=5 * 101.0, fee_end=1.0, first_ns=1)
    later = Part(asked=2.0, filled=2.0, notional=2 * 97.0, at_open=2 * 97.0, fee_end=0.5, first_ns=2)
    for caught_up in (False, True):
        pairs = [Pair(1, 0, -1, rec.EXIT, live, simulated), *([Pair(2, 0, -1, rec.EXIT, later)] if caught_up else [])]
        for pair in pairs:
            pair.effects = effects_of_both(pair)
        add_effects_of_one(pairs, [90.0])
        found = pairs[0].effects
        assert found["timing"] == pytest.approx(3 * (98 - 101))
        assert found["price"] == pytest.approx(3 * ((99 - 98) - (100 - 101)))
        assert found["fees"] == pytest.approx(3 * (0.2 - 0.1))
        worth = 100 - (97 if caught_up else 90) - 0.2  # what a unit sold then was better than one sold later, or held
        assert found["size"] == pytest.approx(-worth) and found["missed"] == pytest.approx(-worth)
        value = [part.notional - part.filled * 90 - part.fee_end for part in (live, simulated, later)]
        whole = value[0] - value[1] + (value[2] if caught_up else 0.0)
        assert sum(pair.effect for pair in pairs) == pytest.approx(whole)


def test_the_verb_reads_a_journal(tmp_path: Path) -> None:
    """No such file is bad input."""
    from typer import Typer
    from typer.testing import CliRunner

    from bot.verbs_drift import register

    app = Typer()
    app.callback()(lambda: None)
    register(app)
    found = CliRunner().invoke(app, ["drift", str(tmp_path / "none.sqlite")])
    assert isinstance(found.exception, InputError)
