"""Markets followed through unmodified ccxt: what is told and when it is known, whole minutes only, and all faults."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.feed import Candle, FeedError, Item, Reading, Spoilt
from data.intake_feed import to_facts
from data.sources.market import CARD, MarketOptions
from data.store import Store
from data.times import HOUR_NS, MILLISECOND_NS, MINUTE_NS, SECOND_NS, floor_time
from tests.sources.server import HTTP_FAULTS, PAUSE_S
from tests.sources.world import NOW_NS, StepClock, Taken, opened, streaming
from tests.venue.usdm import FUNDING_MS, make_row
from tests.venue.usdm_live import UsdmLive, open_usdm

SYMBOL, ID = "BTC/USDT:USDT", "BTCUSDT"
POLLED = ("funding", "open_interest", "long_short_ratio", "book", "bars")
READ_BY_KIND = ("html", "truncated", "wrong-shape", "empty")  # the others are met before an answer is read

SLOW_S = 30.0
Work = Callable[[UsdmLive, StepClock], Coroutine[Any, Any, Any]]


def run(work: Work) -> Any:
    """Do the work beside an exchange."""

    async def whole() -> Any:
        clock = StepClock()
        async with open_usdm(clock) as exchange:
            return await work(exchange, clock)

    return asyncio.run(whole())


def feed(local: UsdmLive, clock: StepClock, *what: str, memory: Any = None, **options: Any) -> Any:
    """The source, pointed at the local exchange. Its clock jumps, which isn't to look like silence."""
    told = {**local.options, "what": what, "symbols": (SYMBOL,), "silence": 900.0, **options}
    return opened("market", told, clock=clock, memory=memory)


async def until(true: Callable[[], Any], timeout_s: float = SLOW_S) -> None:
    """Wait for something to be so."""
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def passing(clock: StepClock, seconds: float = 4.0) -> Any:
    """Time that goes on by itself."""

    async def work() -> None:
        while True:
            await asyncio.sleep(0.01)
            clock.advance(seconds)

    task = asyncio.ensure_future(work())
    try:
        yield
    finally:
        task.cancel()


async def failure(market: Any, taken: Taken, timeout_s: float = SLOW_S) -> FeedError:
    """What the stream ends with."""
    with pytest.raises(FeedError) as caught:
        async with asyncio.timeout(timeout_s):
            await market.stream(taken)
    return caught.value


def of(items: list[Item], name: str) -> list[Reading]:
    """Readings of one metric."""
    return [item for item in items if isinstance(item, Reading) and item.name == name]


def test_what_is_asked_again_and_again(tmp_path: Path) -> None:
    """Each kind, with its time and its value; known when it arrived, and never before it happened."""

    async def work(exchange: UsdmLive, clock: StepClock) -> None:
        taken, before = Taken(), clock.ns
        async with feed(exchange, clock, *POLLED) as market, streaming(market, taken):
            await until(lambda: {type(item) for item in taken.items} == {Reading, Candle})
            names = ("funding_rate", "funding_rate_next", "open_interest", "long_short_ratio", "book_imbalance")
            await until(lambda: all(of(taken.items, name) for name in names))
        items = taken.items
        settled = make_row("funding", ID, exchange.now_ms // FUNDING_MS * FUNDING_MS)
        event_ns = settled["fundingTime"] // FUNDING_MS * FUNDING_MS * MILLISECOND_NS
        assert of(items, "funding_rate") == [Reading("funding_rate", "BTC", event_ns, float(settled["fundingRate"]))]
        assert of(items, "funding_rate_next")[0].value == 0.00012
        assert of(items, "open_interest")[0].value == 1234.5
        assert of(items, "book_imbalance")[0].value == (8 - 8) / 16
        ratios = of(items, "long_short_ratio")
        assert max(one.event_ns for one in ratios) <= clock.ns and ratios[-1].event_ns % (5 * MINUTE_NS) == 0
        bars = [item for item in items if isinstance(item, Candle)]
        assert [bar.event_ns for bar in bars] == [floor_time(NOW_NS, MINUTE_NS) - MINUTE_NS]
        row = make_row("kline", ID, bars[0].event_ns // MILLISECOND_NS)
        assert (bars[0].open, bars[0].close, bars[0].volume) == (float(row[1]), float(row[4]), float(row[5]))
        found, store = to_facts(CARD, taken.batches, ingested_ns=clock.now_ns()), Store(tmp_path)
        assert not found.rejects
        for kind, table in found.facts.items():
            store.append(kind, table)
            for fact in store.table(kind).to_pylist():
                assert (fact["quality"], fact["source"]) == ("recorded", "binance")
                assert max(before, fact["event_ns"]) <= fact["known_ns"] <= clock.ns

    run(work)


def test_what_happened_between_two_runs_comes_from_the_cursor() -> None:
    """Settlements and bars of the time in between are brought, known now; nothing is told twice."""

    async def work(exchange: UsdmLive, clock: StepClock) -> None:
        first, second = Taken(), Taken()
        async with feed(exchange, clock, "funding", "bars") as market, streaming(market, first):
            await until(lambda: of(first.items, "funding_rate") and any(isinstance(one, Candle) for one in first.items))
        memory = dict(first.batches[-1].cursor or {})
        clock.advance(17 * 3600)
        async with feed(exchange, clock, "funding", "bars", memory=memory) as market, streaming(market, second):
            await until(lambda: of(second.items, "funding_rate"))
            await until(lambda: len([one for one in second.items if isinstance(one, Candle)]) >= 990)
        events = [one.event_ns for taken in (first, second) for one in of(taken.items, "funding_rate")]
        assert events == [events[0] + at * 8 * HOUR_NS for at in range(3)]
        opens = [one.event_ns for taken in (first, second) for one in taken.items if isinstance(one, Candle)]
        assert opens == [opens[0] + at * MINUTE_NS for at in range(len(opens))]

    run(work)


def test_a_bar_is_told_when_it_is_closed_and_again_when_it_is_corrected() -> None:
    async def work(exchange: UsdmLive, clock: StepClock) -> None:
        taken = Taken()
        async with feed(exchange, clock, "bars") as market, streaming(market, taken):
            await taken.wait(1, SLOW_S)
            told = taken.items[0]
            assert isinstance(told, Candle)
            row = list(make_row("kline", ID, told.event_ns // MILLISECOND_NS))
            row[5] = "777"
            exchange.bars[(ID, row[0])] = row
            await taken.wait(2, SLOW_S)
            assert taken.items[1] == Candle(*[SYMBOL, MINUTE_NS, told.event_ns, told.open, told.high, told.low,
                                              told.close, 777.0])  # fmt: skip
            clock.advance(60)
            await taken.wait(3, SLOW_S)
            assert [item.event_ns for item in taken.items[2:]] == [told.event_ns + MINUTE_NS]  # type: ignore[union-attr]

    run(work)


async def begun(exchange: UsdmLive, market: Any, clock: StepClock, runs: int = 1) -> int:
    """Until the streams are heard; the first whole minute from now on, which is where the clock is put."""
    await until(lambda: market.health().get("streams_begun", 0) >= runs)
    minute = floor_time(clock.ns, MINUTE_NS) + 2 * MINUTE_NS
    clock.advance((minute - clock.ns) / SECOND_NS + 0.5)
    return minute


async def said(exchange: UsdmLive, market: Any, name: str, *messages: Any) -> None:
    """Say them, and wait until they were heard."""
    before = market.health().get(name, 0)
    for number, message in enumerate(messages, start=1):
        await exchange.say(message)
        await until(lambda number=number: market.health().get(name, 0) >= before + number)


def trades_of(items: list[Item], end_ns: int) -> list[tuple[float, ...]]:
    """The sums of the minute that ended then, as often as they were told."""
    names = ("trade_volume_buy", "trade_volume_sell", "trade_count")
    columns = [[one.value for one in of(items, name) if one.event_ns == end_ns and one.coin == "BTC"] for name in names]
    return list(zip(*columns, strict=True))


def test_trades_are_summed_by_whole_minutes() -> None:
    """Twice is once, late is a revision, a quiet minute is nought, and one whose begin wasn't heard isn't told."""

    async def work(exchange: UsdmLive, clock: StepClock) -> None:
        taken = Taken()
        both = {"symbols": (SYMBOL, "ETH/USDT:USDT")}
        async with feed(exchange, clock, "trades", **both) as market, streaming(market, taken):
            minute = await begun(exchange, market, clock)
            at = minute // MILLISECOND_NS
            first = exchange.trade(ID, 1, at, "0.5", "buy")
            await said(
                exchange, market, "trades", first, exchange.trade(ID, 2, at + 1, "0.25", "sell"),
                exchange.trade("ETHUSDT", 2, at + 5, "7", "sell"), exchange.trade(ID, 3, at + 59_999, "2", "buy"),
                exchange.trade(ID, 4, at + 60_000, "16", "buy"), first,
            )  # fmt: skip
            assert not [item for item in taken.items if isinstance(item, Reading) and item.event_ns > minute]
            clock.advance(64)
            await until(lambda: trades_of(taken.items, minute + MINUTE_NS))
            assert trades_of(taken.items, minute + MINUTE_NS) == [(2.5, 0.25, 3.0)]
            await until(lambda: [one for one in of(taken.items, "trade_volume_sell") if one.coin == "ETH"])
            assert [one.value for one in of(taken.items, "trade_volume_sell") if one.coin == "ETH"][-1] == 7.0
            await said(exchange, market, "trades", exchange.trade(ID, 5, at + 30_000, "4", "sell"))
            await until(lambda: len(trades_of(taken.items, minute + MINUTE_NS)) == 2)
            assert trades_of(taken.items, minute + MINUTE_NS)[-1] == (2.5, 4.25, 4.0)
            clock.advance(120)
            await until(lambda: trades_of(taken.items, minute + 3 * MINUTE_NS))
            assert trades_of(taken.items, minute + 2 * MINUTE_NS) == [(16.0, 0.0, 1.0)]
            assert trades_of(taken.items, minute + 3 * MINUTE_NS) == [(0.0, 0.0, 0.0)]
        assert (market.health()["trades_late"], market.health()["trades_twice"]) == (1, 1)
        assert all(batch.arrived_ns >= item.event_ns for batch in taken.batches for item in batch.items)  # type: ignore[union-attr]

    run(work)


def test_a_minute_with_a_break_is_counted_and_not_told() -> None:
    """The line is cut in a minute: what was heard of it is no fact, nor is the next one that isn't heard whole."""

    async def work(exchange: UsdmLive, clock: StepClock) -> None:
        taken = Taken()
        async with feed(exchange, clock, "trades") as market:
            async with streaming(market, taken) as task:
                minute = await begun(exchange, market, clock)
                await said(exchange, market, "trades", exchange.trade(ID, 1, minute // MILLISECOND_NS, "1", "buy"))
                exchange.drop()
                await until(task.done)
                assert isinstance(task.exception(), FeedError) and not task.exception().final
            async with streaming(market, taken):
                later = await begun(exchange, market, clock, runs=2)
                at = later // MILLISECOND_NS
                await said(exchange, market, "trades", exchange.trade(ID, 9, at, "3", "sell"))
                clock.advance(64)
                await until(lambda: trades_of(taken.items, later + MINUTE_NS))
        assert trades_of(taken.items, minute + MINUTE_NS) == []
        assert trades_of(taken.items, later + MINUTE_NS) == [(0.0, 3.0, 1.0)]
        assert market.health()["trades_minutes_missed"] >= 1

    run(work)


def test_liquidations_by_the_side_that_was_closed() -> None:
    """A forced sale closed a long; without any, a minute that was heard is nought."""

    async def work(exchange: UsdmLive, clock: StepClock) -> None:
        taken = Taken()
        async with feed(exchange, clock, "liquidations") as market, streaming(market, taken):
            minute = await begun(exchange, market, clock)
            at = minute // MILLISECOND_NS
            await said(
                exchange, market, "liquidations", exchange.liquidation(ID, at, "0.5", "sell"),
                exchange.liquidation(ID, at + 7, "0.125", "buy"), exchange.liquidation(ID, at + 9, "1", "sell"),
            )  # fmt: skip
            clock.advance(124)
            await until(
                lambda: [one for one in of(taken.items, "liquidations_short") if one.event_ns > minute + MINUTE_NS]
            )
        sums = {
            name: {one.event_ns: one.value for one in of(taken.items, name)}
            for name in ("liquidations_long", "liquidations_short")
        }
        assert sums["liquidations_long"][minute + MINUTE_NS] == 1.5
        assert sums["liquidations_short"][minute + MINUTE_NS] == 0.125
        assert sums["liquidations_long"][minute + 2 * MINUTE_NS] == 0.0

    run(work)


ANSWERS = [(what, fault) for what in POLLED for fault in HTTP_FAULTS if what == "bars" or fault in READ_BY_KIND]


@pytest.mark.parametrize(("what", "fault"), ANSWERS)
def test_a_fault_of_an_answer_has_a_name_and_loses_nothing(what: str, fault: str) -> None:
    """Whatever is answered: a FeedError, no crash; the next run brings it. A pause that is asked for is told.

    A connection that is hung up is opened again below us, once; bars that didn't come are asked for once more, since
    ccxt reads garbage as none. Both may pass without a word.
    """

    async def work(exchange: UsdmLive, clock: StepClock) -> None:
        taken = Taken()
        async with feed(exchange, clock, what, timeout=1.0 if fault == "slow-loris" else 5.0) as market:
            async with streaming(market, taken) as task:
                await taken.wait(1, SLOW_S)
                exchange.server.script.append(fault)
                clock.advance(60)
                count = len(taken.items)
                await until(lambda: task.done() or (what == "bars" and len(taken.items) > count))
                if task.done():
                    error = task.exception()
                    assert isinstance(error, FeedError) and not error.final and "binance" in str(error), repr(error)
                    assert "?" not in str(error)
                    assert error.pause_s >= PAUSE_S or fault not in ("429-seconds", "429-date")
            count = len(taken.items)
            clock.advance(600)
            async with streaming(market, taken):
                await taken.wait(count + 1, SLOW_S)
        assert not [item for item in taken.items if isinstance(item, Spoilt)]

    run(work)


@pytest.mark.parametrize("fault", ["429-seconds", "html", "truncated", "wrong-shape", "empty", "slow-loris"])
def test_a_list_of_markets_that_does_not_come(fault: str) -> None:
    async def work(exchange: UsdmLive, clock: StepClock) -> None:
        taken = Taken()
        exchange.server.script.append(fault)
        async with feed(exchange, clock, "open_interest", timeout=1.0 if fault == "slow-loris" else 5.0) as market:
            error = await failure(market, taken)
            assert not error.final and (error.pause_s >= PAUSE_S or fault != "429-seconds")
            async with streaming(market, taken):
                await taken.wait(1, SLOW_S)

    run(work)


@pytest.mark.parametrize("what", ["trades", "liquidations"])
@pytest.mark.parametrize("fault", ["429", "500", "html", "drop", "never"])
def test_a_stream_that_does_not_open(what: str, fault: str) -> None:
    async def work(exchange: UsdmLive, clock: StepClock) -> None:
        taken = Taken()
        exchange.handshakes.extend([fault, fault] if fault == "drop" else [fault])  # the first is tried again below us
        async with passing(clock), feed(exchange, clock, what, silence=60.0) as market:
            error = await failure(market, taken)
            assert not error.final and not taken.items
            assert error.pause_s > PAUSE_S - 1.5 or fault != "429"
            async with streaming(market, taken):
                await taken.wait(1, SLOW_S)

    run(work)


@pytest.mark.parametrize("what", ["trades", "liquidations"])
@pytest.mark.parametrize("fault", ["drop", "close", "quiet", "refused", "cut", "deep", "unreadable"])
def test_a_stream_that_breaks(what: str, fault: str) -> None:
    """Cut, closed, silent, refused, or with what kills ccxt's reader: it ends with a name, and doesn't hang."""

    async def work(exchange: UsdmLive, clock: StepClock) -> None:
        taken = Taken()
        exchange.refuses = fault == "refused"
        async with passing(clock), feed(exchange, clock, what, silence=60.0) as market:
            task = asyncio.ensure_future(failure(market, taken))
            await until(lambda: exchange.subscribed)
            if fault == "drop":
                exchange.drop()
            elif fault == "close":
                await exchange.links[0][1].close()
            exchange.quiet = fault == "quiet"
            says = {
                "cut": ['{"e": "trade", "E": 17600'], "deep": ['{"e": ' + "[" * 100_000 + "}"],
                "unreadable": [{"e": {"trade": 1}, "s": 7}, '{"e": "trade"}', '{"e": "forceOrder", "o": 5}', '{"e": "'],
            }  # fmt: skip
            await exchange.say(*says.get(fault, []))
            error = await task
            assert not error.final or fault == "refused"
            exchange.quiet = exchange.refuses = False
            count = len(taken.items)
            async with streaming(market, taken):
                await taken.wait(count + 1, SLOW_S)

    run(work)


def test_what_cannot_be_read_is_set_apart_with_its_minute() -> None:
    """A trade without an amount, or of the future: not in a sum, and the minute of its coming isn't told."""

    async def work(exchange: UsdmLive, clock: StepClock) -> None:
        taken = Taken()
        async with feed(exchange, clock, "trades") as market, streaming(market, taken):
            at = (minute := await begun(exchange, market, clock)) // MILLISECOND_NS
            clock.advance(10)
            bad = {name: value for name, value in exchange.trade(ID, 2, at + 5, "1", "buy").items() if name != "q"}
            future = exchange.trade(ID, 3, at + 3_600_000, "1", "buy")
            await said(exchange, market, "trades", exchange.trade(ID, 1, at, "1", "buy"), bad, future)
            await until(lambda: sum(isinstance(item, Spoilt) for item in taken.items) == 2)
            clock.advance(124)
            await until(lambda: trades_of(taken.items, minute + 2 * MINUTE_NS))
            assert trades_of(taken.items, minute + MINUTE_NS) == []
            assert trades_of(taken.items, minute + 2 * MINUTE_NS) == [(0.0, 0.0, 0.0)]
        assert market.health()["trades_unwhole"] == 1

    run(work)


def test_options_say_what_they_have_wrong() -> None:
    """Before anything is asked, or when the exchange's markets are known."""

    async def work(exchange: UsdmLive, clock: StepClock) -> None:
        for options, named in (
            ({"exchange": "binanse"}, "binance"), ({"symbols": ("BTC/USD",), "what": ("funding",)}, "perpetual"),
            ({"symbols": (SYMBOL, "BTC/USDC:USDC")}, "two symbols"), ({"urls": {"rest": "file:///etc"}}, "address"),
            ({"exchange": "okx", "what": ("liquidations",)}, "isn't known"), ({"symbols": ("A/B:B",)}, "such symbol"),
            ({"what": ("bars",), "bar": "7m"}, "length"), ({"urls": {"nothing": "https://x"}}, "no such endpoint"),
        ):  # fmt: skip
            with pytest.raises(InputError, match=named):
                async with feed(exchange, clock, "open_interest", **options) as market:
                    await market.stream(Taken())
        with pytest.raises(InputError, match="fetch bars"):
            async with feed(exchange, clock, "bars") as market:
                await market.fetch((0, 1), Taken(), lambda part, whole: None)
        with pytest.raises(ValueError, match="what"):
            MarketOptions(what=("gossip",))  # type: ignore[arg-type]

    run(work)
