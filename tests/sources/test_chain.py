"""What each on-chain source does beside the contract: its times, its qualities, its errors, its documented payloads."""

import asyncio
import csv
import io
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from data.errors import InputError
from data.feed import FeedError, Item, Reading, Spoilt
from data.sources import all_sources
from data.times import DAY_NS, HOUR_NS, SECOND_NS, Span, parse_time
from tests.sources import coinmetrics, defillama, glassnode, mempool_space, santiment
from tests.sources.server import Handler, reply, serving
from tests.sources.world import NOW_NS, StepClock, Taken, opened, streaming

REAL = Path(os.environ.get("TIDEGATE_REAL_DATA") or Path(__file__).parents[2].parent / "shared" / "data") / "fixtures"
SECRETS = {"env:KEY": "sEcReT123"}
TODAY_NS = NOW_NS // DAY_NS * DAY_NS
Work = Callable[[Any, Taken], Awaitable[None]]


def run(
    name: str,
    handler: Handler,
    work: Work,
    *,
    at_ns: int = NOW_NS,
    store: Any = None,
    secrets: Any = None,
    **options: Any,
) -> Taken:
    """Let a feed of `name` work against a local API; `URL` in an option stands for its address."""
    taken = Taken()

    async def whole() -> None:
        async with serving(handler) as server:
            told = {
                key: value.replace("URL", server.url) if isinstance(value, str) else value
                for key, value in options.items()
            }
            async with opened(name, told, clock=StepClock(at_ns), secrets=secrets or SECRETS, store=store) as feed:
                await work(feed, taken)

    asyncio.run(whole())
    return taken


def fetching(span: Span) -> Work:
    """Fetch a span."""

    async def work(feed: Any, taken: Taken) -> None:
        await feed.fetch(span, taken, lambda part, whole: None)

    return work


async def failing(feed: Any, taken: Taken) -> None:
    """Stream until it fails."""
    async with asyncio.timeout(5):
        await feed.stream(taken)


def answering(body: Any, status: int = 200) -> Handler:
    """An API that always says the same."""

    async def handler(request: web.Request) -> web.Response:
        return reply(body, status)

    return handler


def real(path: str) -> Any:
    """A recorded or documented answer, where it lies beside the project."""
    file = REAL / path
    if not file.is_file():
        pytest.skip(f"no file {file}")
    return json.loads(file.read_text(encoding="utf-8"))


class TestCoinMetrics:
    """Days stamped by their start, pages, errors with names."""

    def test_history_comes_by_pages_and_flows_are_revised(self) -> None:
        world = coinmetrics.make()
        assert world.span is not None
        taken = run("coinmetrics", world.handler, fetching(world.span), **world.options("URL"))
        assert len(taken.batches) == 2  # ten days of BTC, and of the ETH that this API doesn't know, by five rows
        quality = {item.name: item.quality for item in taken.items if isinstance(item, Reading)}
        assert quality == {
            "adr_act_cnt": "", "flow_in_ex_ntv": "revised", "flow_out_ex_ntv": "revised",
            "exchange_netflow": "revised",
        }  # fmt: skip

    def test_yesterday_is_known_at_its_arrival_when_it_is_here_before_its_lag(self) -> None:
        world = coinmetrics.make()
        early = TODAY_NS + 2 * HOUR_NS
        span = (TODAY_NS - 2 * DAY_NS, TODAY_NS + DAY_NS)
        taken = run("coinmetrics", world.handler, fetching(span), at_ns=early, **world.options("URL"))
        known = {item.event_ns: item.known_ns for item in taken.items if isinstance(item, Reading)}
        assert early < known.pop(TODAY_NS) < early + SECOND_NS
        assert set(known.values()) == {0}  # the card's lag

    def test_what_a_coin_does_not_have_stands_in_health(self) -> None:
        world, health = coinmetrics.make(), {}

        async def work(feed: Any, taken: Taken) -> None:
            async with streaming(feed, taken):
                await taken.wait(14)
                health.update(feed.health())

        run("coinmetrics", world.handler, work, coins=("BTC", "DOGE"), **world.options("URL"))
        assert health["absent"] == ["DOGE flow_in_ex_ntv", "DOGE flow_out_ex_ntv", "DOGE exchange_netflow"]

    @pytest.mark.parametrize("example", ["unauthorized", "wrong_credentials", "forbidden", "bad_parameter"])
    def test_documented_errors_are_final_and_say_what_is_wrong(self, example: str) -> None:
        told = real("coinmetrics/openapi_examples.json")
        bodies = [*told["Unauthorized"]["examples"].values(), told["Forbidden"]["example"]]
        bodies.append(told["AssetNotFound"]["example"])
        body = next(body for body in bodies if body["error"]["type"] == example)
        with pytest.raises(FeedError, match=example) as caught:
            run("coinmetrics", answering(body, 403), failing, url="URL")
        assert caught.value.final and body["error"]["message"] in str(caught.value)

    def test_documented_rows_are_read(self) -> None:
        """The documented example is of the table form; the same rows as JSON, of a metric that may be corrected."""
        text = real("coinmetrics/openapi_examples.json")["AssetMetrics"]["example"]
        rows = list(csv.DictReader(io.StringIO(text)))
        taken = run(
            "coinmetrics", answering({"data": rows}), fetching((parse_time("2020-03-01"), parse_time("2020-03-03"))),
            url="URL", metrics=("PriceUSD", "SplyBMXNtv"), netflow="none",
        )  # fmt: skip
        assert taken.items == [
            Reading("price_usd", "BTC", parse_time("2020-03-01"), 8582.09029964933),
            Reading("sply_bmx_ntv", "BTC", parse_time("2020-03-01"), 283220.10827406),
            Reading("price_usd", "BTC", parse_time("2020-03-02"), 8541.77389392169),
            Reading("sply_bmx_ntv", "BTC", parse_time("2020-03-02"), 284691.32323907),
        ]

    def test_a_value_that_is_none_is_set_apart_and_the_rest_of_the_row_stays(self) -> None:
        row = {"asset": "btc", "time": "2025-10-07T00:00:00.000000000Z", "AdrActCnt": "many", "TxCnt": "7"}
        taken = run(
            "coinmetrics", answering({"data": [row]}), fetching((parse_time("2025-10-08"), parse_time("2025-10-09"))),
            url="URL", metrics=("AdrActCnt", "TxCnt"), netflow="none",
        )  # fmt: skip
        good: list[Item] = [item for item in taken.items if not isinstance(item, Spoilt)]
        assert good == [Reading("tx_cnt", "BTC", parse_time("2025-10-08"), 7.0)] and len(taken.items) == 2


class TestDefiLlama:
    """Days, the running one left out; chains by the coins that are asked for."""

    def test_history_counts_as_known_half_a_day_after_its_day_and_is_revised(self) -> None:
        world = defillama.make()
        span = (TODAY_NS - 2 * DAY_NS, TODAY_NS + 3 * DAY_NS)
        taken = run("defillama", world.handler, fetching(span), coins=("ETH",), **world.options("URL"))
        known = {item.event_ns: item.known_ns for item in taken.items if isinstance(item, Reading)}
        assert set(known) == {TODAY_NS - 2 * DAY_NS, TODAY_NS - DAY_NS, TODAY_NS}  # today isn't over
        assert known.pop(TODAY_NS) >= NOW_NS  # here 9 h after its day's end, before its lag is over
        assert set(known.values()) == {0} and all_sources()["defillama"].card.history == "revised"

    def test_a_coin_without_a_chain_is_named(self) -> None:
        with pytest.raises(InputError, match="no chain is known") as caught:
            run("defillama", answering([]), failing, coins=("XRP",))
        assert caught.value.value == "XRP"

    def test_one_series_that_fails_does_not_hold_up_the_others(self) -> None:
        world = defillama.make()

        async def handler(request: web.Request) -> web.StreamResponse:
            if request.path.endswith("/v2/historicalChainTvl"):
                return web.Response(status=500)
            return await world.handler(request)

        async def work(feed: Any, taken: Taken) -> None:
            with pytest.raises(FeedError, match="500"):
                await feed.stream(taken)
            async with streaming(feed, taken):
                await taken.wait(14)

        taken = run("defillama", handler, work, series=("tvl", "stablecoin_supply", "defi_fees"), url="URL",
                    stablecoins_url="URL")  # fmt: skip
        assert {item.name for item in taken.items if isinstance(item, Reading)} == {"stablecoin_supply", "defi_fees"}

    def test_a_series_that_is_refused_is_left_out_and_named(self) -> None:
        """Live it stands in health; a fetch brings the others, and ends with an error."""
        world, health = defillama.make(), {}
        span = (TODAY_NS - 2 * DAY_NS, TODAY_NS)

        async def handler(request: web.Request) -> web.StreamResponse:
            if request.path.endswith("/v2/historicalChainTvl/Ethereum"):
                return web.Response(status=404)
            return await world.handler(request)

        async def work(feed: Any, taken: Taken) -> None:
            async with streaming(feed, taken) as task:
                await taken.wait(7)
                async with asyncio.timeout(5):
                    while feed.counts["asked"] < 4:
                        await asyncio.sleep(0.005)
                health.update(feed.health())
                assert not task.done()
            with pytest.raises(FeedError, match="chain_tvl ETH.*404") as caught:
                await feed.fetch(span, taken, lambda part, whole: None)
            assert caught.value.final

        options = {"url": "URL", "coins": ("ETH",), "series": ("chain_tvl", "chain_fees")}
        taken = run("defillama", handler, work, **options)
        assert list(health["refused"]) == ["chain_tvl ETH"]
        past = [item for batch in taken.batches if batch.history for item in batch.items]
        assert len(past) == 2 and {item.name for item in past if isinstance(item, Reading)} == {"chain_fees"}

    def test_when_all_is_refused_the_feed_stops(self) -> None:
        with pytest.raises(FeedError, match="HTTP 404") as caught:
            run("defillama", answering({}, 404), failing, url="URL", series=("tvl", "defi_fees"))
        assert caught.value.final


class TestMempoolSpace:
    """Values of the moment are dated by the answer, and only mining has history."""

    def test_a_source_whose_clock_is_ahead_is_not_believed(self) -> None:
        world = mempool_space.make()
        behind = NOW_NS - 40 * SECOND_NS

        async def work(feed: Any, taken: Taken) -> None:
            async with streaming(feed, taken):
                await taken.wait(5)

        taken = run("mempool_space", world.handler, work, at_ns=behind, url="URL/api", topics=("fees",))
        for batch in taken.batches[:1]:
            assert {item.event_ns for item in batch.items if isinstance(item, Reading)} == {batch.arrived_ns}

    def test_the_period_asked_for_covers_the_span(self) -> None:
        asked = []

        async def handler(request: web.Request) -> web.Response:
            asked.append(request.path.rpartition("/")[2])
            return reply({"hashrates": [], "difficulty": []})

        for days in (1, 40, 3000):
            run("mempool_space", handler, fetching((NOW_NS - days * DAY_NS, NOW_NS)), url="URL/api")
        assert asked == ["3d", "3m", "all"]


class TestVendorsWithKeys:
    """Glassnode and Santiment: when a value counts as known, and errors that don't repeat the key."""

    def test_history_is_known_when_it_was_computed(self) -> None:
        for world in (glassnode.make(), santiment.make()):
            assert world.span is not None
            keys = {**world.secrets}
            taken = run(world.name, world.handler, fetching(world.span), secrets=keys, **world.options("URL"))
            after = {item.known_ns - item.event_ns for item in taken.items if isinstance(item, Reading)}
            assert after == {2 * HOUR_NS} if world.name == "glassnode" else after == {3 * HOUR_NS}

    @pytest.mark.parametrize(("path", "quality"), [("supply/current", "revised"), ("supply/current_pit", "")])
    def test_without_a_time_of_computation_the_lag_is_assumed(self, path: str, quality: str) -> None:
        """Only a point-in-time path keeps what it said; the documented example row has no time of computation."""
        row = {"t": 1726790400, "v": 822077}
        taken = run(
            "glassnode", answering([row]), fetching((parse_time("2024-09-21"), parse_time("2024-09-22"))), url="URL",
            key="env:KEY", coins=("BTC",), metrics={"supply": path},
        )  # fmt: skip
        assert taken.items == [Reading("supply", "BTC", parse_time("2024-09-21"), 822077.0, 0, quality)]

    @pytest.mark.parametrize(
        ("message", "final", "pause_s"),
        [
            ("API Rate Limit Reached. Try again in 3 seconds", False, 60.0),
            ("The metric 'x' is not supported, is deprecated or is mistyped.", True, 0.0),
            ("Apikey 'sEcReT123' is not valid", True, 0.0),
            ("Something went wrong", False, 0.0),
        ],
    )
    def test_errors_of_graphql_come_with_http_200(self, message: str, final: bool, pause_s: float) -> None:
        with pytest.raises(FeedError) as caught:
            run("santiment", answering({"errors": [{"message": message}]}), failing, url="URL", key="env:KEY")
        assert (caught.value.final, caught.value.pause_s) == (final, pause_s)
        assert "sEcReT123" not in str(caught.value)
