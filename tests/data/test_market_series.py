"""Funding, open interest and ratios fetched through unmodified ccxt from a server that speaks Binance's futures."""

from collections.abc import Callable, Iterator

import pytest

from data.errors import InputError, UnreachableError
from data.market_series import LAG_NS, SeriesReport, fetch_series
from data.store import Store
from data.times import DAY_NS, HOUR_NS, MILLISECOND_NS, parse_time
from tests.venue.usdm import FUNDING_MS, HOUR_MS, Usdm, make_row, threaded

START = parse_time("2024-03-01")
START_MS = START // MILLISECOND_NS
SYMBOL, ID = "BTC/USDT:USDT", "BTCUSDT"
Fetch = Callable[..., SeriesReport]


@pytest.fixture
def exchange() -> Iterator[Usdm]:
    held = Usdm(first_ms=START_MS - 400 * HOUR_MS, last_ms=START_MS + 3000 * HOUR_MS)
    with threaded(held.handle) as (url, _):
        held.url = url
        yield held


@pytest.fixture
def fetch(store: Store, exchange: Usdm) -> Fetch:
    """Fetch hours after the start: ``fetch(what, first, last, now=hour)``; waits are noted, not slept."""

    def run(what: str, first: float, last: float, now: float = 2900, **named: object) -> SeriesReport:
        given = {"urls": exchange.urls, "wait": [].append, "now_ns": START + int(now * HOUR_NS), **named}
        symbol = given.pop("symbol", SYMBOL)
        span = START + int(first * HOUR_NS), START + int(last * HOUR_NS)
        return fetch_series(store, "binance", symbol, what, *span, **given)  # type: ignore[arg-type]

    return run


def stored(store: Store, name: str) -> dict[int, tuple[int, float]]:
    """Known time and value by event."""
    rows = store.table("metrics", {"name": [name], "source": ["binance"], "coin": ["BTC"]}).to_pylist()
    assert {row["quality"] for row in rows} <= {"assumed_lag"} and len({row["event_ns"] for row in rows}) == len(rows)
    return {row["event_ns"]: (row["known_ns"], row["value"]) for row in rows}


def test_funding_is_dated_to_its_minute_and_known_at_its_stamp(fetch: Fetch, store: Store) -> None:
    told: list[tuple[int, int]] = []
    report = fetch("funding", 0, 2160, progress=lambda done, total: told.append((done, total)))
    assert (report.added, report.rows, report.gaps, report.source, report.coin) == (270, 270, (), "binance", "BTC")
    expected = {}
    for number in range(270):
        row = make_row("funding", ID, START_MS + number * FUNDING_MS)
        known = row["fundingTime"] * MILLISECOND_NS
        expected[START + number * 8 * HOUR_NS] = (known, float(row["fundingRate"]))
    assert stored(store, "funding_rate") == expected
    assert told[0] == (0, 2160) and told[-1] == (2160, 2160) and told == sorted(told)


def test_open_interest_is_known_after_its_interval_and_the_lag(fetch: Fetch, store: Store, exchange: Usdm) -> None:
    report = fetch("open_interest", 0, 1000)
    assert (report.added, report.rows, report.gaps, report.lag_ns) == (2000, 1000, (), LAG_NS)
    for name, column in (("open_interest", "sumOpenInterest"), ("open_interest_value", "sumOpenInterestValue")):
        expected = {}
        for hour in range(-1, 999):
            event = START + (hour + 1) * HOUR_NS
            value = float(make_row("interest", ID, START_MS + hour * HOUR_MS)[column])
            expected[event] = (event + LAG_NS, value)
        assert stored(store, name) == expected
    exchange.asked.clear()
    assert (fetch("open_interest", 0, 1000).added, exchange.asked) == (0, [])


def test_ratios_and_what_is_absent_only(fetch: Fetch, store: Store, exchange: Usdm) -> None:
    fetch("long_short_ratio", 200, 400)
    exchange.asked.clear()
    report = fetch("long_short_ratio", 0, 700)
    assert (report.added, report.rows) == (500, 700)
    first = [(int(query["startTime"]) - START_MS) // HOUR_MS for _, query in exchange.asked]
    assert first == [-1, 399]
    assert stored(store, "long_short_ratio")[START][1] == float(
        make_row("ratio", ID, START_MS - HOUR_MS)["longShortRatio"]
    )


def test_what_is_not_known_yet_is_left_out_and_comes_later(fetch: Fetch, store: Store, exchange: Usdm) -> None:
    """Values count as known some minutes after their interval; what is younger than an hour is asked for again."""
    exchange.last_ms = START_MS + 99 * HOUR_MS  # the newest row isn't published yet
    report = fetch("open_interest", 0, 200, now=100.2)
    assert (report.rows, report.last_ns, len(report.gaps)) == (100, START + 99 * HOUR_NS, 1)
    exchange.last_ms = START_MS + 110 * HOUR_MS
    exchange.asked.clear()
    report = fetch("open_interest", 0, 200, now=100.3)
    assert (report.rows, report.last_ns, report.gaps) == (101, START + 100 * HOUR_NS, ())
    assert all(int(query["startTime"]) >= START_MS + 98 * HOUR_MS for _, query in exchange.asked)
    assert max(known for known, _ in stored(store, "open_interest").values()) <= START + int(100.3 * HOUR_NS)
    with pytest.raises(InputError, match="can be known yet"):
        fetch("funding", 200, 300, now=150)


def test_gaps_are_asked_for_again_and_then_known(fetch: Fetch, exchange: Usdm) -> None:
    """One kind of hole is filled at the second question, another is the exchange's own."""
    exchange.hidden = {("interest", ID, START_MS + hour * HOUR_MS) for hour in (50, 51, 300)}
    exchange.absent = {("interest", ID, START_MS + hour * HOUR_MS) for hour in (100, 101)}
    report = fetch("open_interest", 0, 700)
    assert (report.rows, report.added) == (698, 2 * 698) and not exchange.hidden
    assert [(gap.after_ns, gap.missing) for gap in report.gaps] == [(START + 100 * HOUR_NS, 2)]
    exchange.asked.clear()
    assert len(fetch("open_interest", 0, 700).gaps) == 1
    assert exchange.asked == []


def test_gaps_of_funding_and_a_change_of_its_interval(fetch: Fetch, exchange: Usdm, store: Store) -> None:
    exchange.hidden = {("funding", ID, START_MS + 5 * FUNDING_MS)}
    exchange.absent = {("funding", ID, START_MS + at * FUNDING_MS) for at in (20, 21)}
    normal = exchange.rows

    def rows(kind: str, symbol: str) -> dict[int, object]:
        found = normal(kind, symbol)
        found.update(
            {at: make_row(kind, symbol, at) for at in range(START_MS + 800 * HOUR_MS, exchange.last_ms, HOUR_MS * 4)}
        )
        return dict(sorted(found.items()))

    exchange.rows = rows  # type: ignore[method-assign]
    report = fetch("funding", 0, 1600)
    assert not exchange.hidden and report.rows == 98 + 200
    assert [(gap.after_ns, gap.missing) for gap in report.gaps] == [(START + 19 * 8 * HOUR_NS, 2)]


def test_an_exchange_that_keeps_a_month(fetch: Fetch, exchange: Usdm) -> None:
    """What is left of its history is found by halving, brought, and not asked for again."""
    exchange.last_ms, exchange.keeps_ms = START_MS + 2160 * HOUR_MS, 720 * HOUR_MS
    report = fetch("open_interest", 0, 2160, now=2160)
    begins = START + (2160 - 720 + 1) * HOUR_NS
    assert report.first_ns == report.refused_before_ns == begins
    assert (report.rows, report.gaps) == (719, ())
    refused = sum(int(query["startTime"]) < START_MS + 1440 * HOUR_MS for _, query in exchange.asked)
    assert refused <= 13 and len(exchange.asked) <= 26
    exchange.asked.clear()
    assert fetch("open_interest", 0, 2160, now=2160).added == 0
    assert len(exchange.asked) <= 1
    with pytest.raises(InputError, match="startTime"):
        fetch("long_short_ratio", 0, 700, now=2160)


def test_interrupted_and_taken_up_again(fetch: Fetch, exchange: Usdm) -> None:
    def stop(done: int, _: int) -> None:
        if done >= 1000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("open_interest", 0, 2160, progress=stop)
    exchange.asked.clear()
    report = fetch("open_interest", 0, 2160)
    assert (report.added, report.rows, report.gaps) == (2 * 1160, 2160, ())
    assert min(int(query["startTime"]) for _, query in exchange.asked) == START_MS + 999 * HOUR_MS


def test_a_smaller_page_than_asked_for(fetch: Fetch, exchange: Usdm) -> None:
    exchange.limit_max = 300
    report = fetch("open_interest", 0, 1200)
    assert (report.rows, report.gaps) == (1200, ())


@pytest.mark.parametrize("what", ["funding", "open_interest", "long_short_ratio"])
@pytest.mark.parametrize("fault", ["429", "500", "html", "cut", "object", "renamed"])
def test_faults_that_pass(fetch: Fetch, exchange: Usdm, fault: str, what: str) -> None:
    exchange.script.append(fault)
    waits: list[float] = []
    report = fetch(what, 0, 80, wait=waits.append)
    assert (report.rows, report.quarantined, report.gaps) == (10 if what == "funding" else 80, 0, ())
    assert waits == [3.0 if fault == "429" else 1.0]


def test_faults_that_stay(fetch: Fetch, exchange: Usdm) -> None:
    fetch("funding", 0, 80)
    exchange.script.extend(["500"] * 5)
    with pytest.raises(UnreachableError, match="run the same command again"):
        fetch("funding", 0, 160)
    assert fetch("funding", 0, 160).added == 10


def test_bad_values_are_set_apart(fetch: Fetch, exchange: Usdm, store: Store) -> None:
    normal = exchange.rows

    def rows(kind: str, symbol: str) -> dict[int, object]:
        found = normal(kind, symbol)
        found[START_MS + 3 * FUNDING_MS]["fundingRate"] = "n/a"
        found[START_MS + 4 * FUNDING_MS]["fundingRate"] = "17"
        return found

    exchange.rows = rows  # type: ignore[method-assign]
    report = fetch("funding", 0, 80)
    assert (report.rows, report.added, report.quarantined) == (8, 8, 2)
    assert set(store.rejects("metrics")["reason"].to_pylist()) == {"not a funding rate"}


def test_a_series_has_one_origin(fetch: Fetch, store: Store) -> None:
    """Two intervals, or two perpetuals of a coin, would contradict each other under one name."""
    fetch("open_interest", 0, 48)
    with pytest.raises(InputError, match="by 1h already"):
        fetch("open_interest", 0, 48, interval_ns=4 * HOUR_NS)
    for name in ("open_interest", "open_interest_value"):
        store.forget("metrics", {"source": "binance", "name": name})
    assert fetch("open_interest", 0, 48).added == 96


def test_wrong_names(fetch: Fetch) -> None:
    with pytest.raises(InputError, match="no such symbol"):
        fetch("funding", 0, 8, symbol="BTC/USD:USD")
    with pytest.raises(InputError, match="no bars of that interval"):
        fetch("open_interest", 0, 8, interval_ns=7 * HOUR_NS)
    with pytest.raises(InputError, match="the span is|empty"):
        fetch("funding", 8, 8)


def test_a_backtest_takes_the_funding_as_it_is(fetch: Fetch, store: Store) -> None:
    """Every funding that a perpetual run of ninety days has to pay is found where it looks for it."""
    from backtest.funding import funding_due
    from backtest.spec import RunSpec
    from strategies.load import catalogue

    fetch("funding", 0, 2160)
    strategy = next(iter(catalogue().values()))()
    spec = RunSpec(strategy=strategy, symbols=(SYMBOL,), market="perp")
    when, _, rates = funding_due(store, spec, START, START + 89 * DAY_NS, [], [])
    assert len(when) == 89 * 3 + 1 and rates[0] == float(make_row("funding", ID, START_MS)["fundingRate"])
