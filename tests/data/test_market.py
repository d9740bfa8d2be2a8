"""Fetching bars through unmodified ccxt from a local server that speaks Binance's spot REST."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from data.errors import InputError, UnreachableError
from data.market import FetchReport, fetch_bars
from data.store import Store
from data.times import HOUR_NS, parse_time

START = parse_time("2024-01-01")
START_MS = START // 10**6
HOUR_MS = 3_600_000

SYMBOL = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "baseAssetPrecision": 8,
    "quoteAsset": "USDT",
    "quotePrecision": 8,
    "quoteAssetPrecision": 8,
    "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
    "isSpotTradingAllowed": True,
    "isMarginTradingAllowed": False,
    "filters": [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": "0.01000000",
            "maxPrice": "1000000.00000000",
            "tickSize": "0.01000000",
        },
        {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True, "maxNotional": "9000000.0"},
    ],
    "permissions": [],
    "permissionSets": [["SPOT"]],
}

Answer = tuple[int, dict[str, str], bytes]


PERPETUAL = {
    **SYMBOL,
    "pair": "BTCUSDT",
    "contractType": "PERPETUAL",
    "deliveryDate": 4133404800000,
    "onboardDate": 1569398400000,
    "marginAsset": "USDT",
    "pricePrecision": 2,
    "quantityPrecision": 3,
    "underlyingType": "COIN",
}


@dataclass
class Exchange:
    """What the local exchange holds and how it misbehaves: ``faults`` answer klines requests before it does."""

    hours: list[int] = field(default_factory=list)
    faults: list[Answer] = field(default_factory=list)
    limit_max: int = 1000
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    special: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def kline(self, hour: int) -> list[object]:
        opened = START_MS + hour * HOUR_MS
        o, h, low, c, v = self.special.get(
            hour, (f"{100 + hour}.0", f"{101 + hour}.0", f"{99 + hour}.0", f"{100 + hour}.5", "3.5")
        )
        return [opened, o, h, low, c, v, opened + HOUR_MS - 1, "350.0", 12, "1.75", "175.0", "0"]

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        if path == "/api/v3/exchangeInfo":
            body = {
                "timezone": "UTC",
                "serverTime": START_MS,
                "rateLimits": [],
                "exchangeFilters": [],
                "symbols": [SYMBOL],
            }
            return 200, {}, json.dumps(body).encode()
        if path == "/fapi/v1/exchangeInfo":
            return (
                200,
                {},
                json.dumps({"timezone": "UTC", "rateLimits": [], "assets": [], "symbols": [PERPETUAL]}).encode(),
            )
        if path not in ("/api/v3/klines", "/fapi/v1/klines"):
            return 404, {}, b"{}"
        self.asked.append(query)
        if self.faults:
            return self.faults.pop(0)
        since, limit = int(query.get("startTime", "0")), min(int(query["limit"]), self.limit_max)
        rows = [self.kline(hour) for hour in self.hours if START_MS + hour * HOUR_MS >= since]
        return 200, {"x-mbx-used-weight": "2", "x-mbx-used-weight-1m": "2"}, json.dumps(rows[:limit]).encode()


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    held = Exchange()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, headers, body = held.answer(parts.path, query)
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    held.url = f"http://127.0.0.1:{server.server_port}/api/v3"
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Fetch = Callable[..., FetchReport]


@pytest.fixture
def fetch(store: Store, exchange: Exchange) -> Fetch:
    """Fetch hours of BTC/USDT: ``fetch(first, last, now=hour)``; waits are noted, not slept."""

    def run(first: int, last: int, now: int = 10**5, waits: list[float] | None = None, **named: object) -> FetchReport:
        given = {"urls": {"public": exchange.url}, "wait": ([] if waits is None else waits).append, **named}
        since, until = START + first * HOUR_NS, START + last * HOUR_NS
        return fetch_bars(
            store,
            "binance",
            "BTC/USDT",
            HOUR_NS,
            since,
            until,
            now_ns=START + now * HOUR_NS,
            **given,  # type: ignore[arg-type]
        )

    return run


def test_pages_and_progress(fetch: Fetch, store: Store, exchange: Exchange) -> None:
    exchange.hours = list(range(2500))
    told: list[tuple[int, int]] = []
    report = fetch(0, 2500, progress=lambda done, total: told.append((done, total)))
    assert (report.added, report.bars, report.gaps, report.source) == (2500, 2500, (), "binance")
    assert [query["startTime"] for query in exchange.asked] == [str(START_MS + at * HOUR_MS) for at in (0, 1000, 2000)]
    assert [int(query["limit"]) for query in exchange.asked] == [1000, 1000, 500]
    assert told == [(0, 2500), (1000, 2500), (2000, 2500), (2500, 2500), (2500, 2500)]
    bars = store.bars("BTC/USDT", HOUR_NS)
    assert bars.open_ns.tolist() == [START + at * HOUR_NS for at in range(2500)]
    assert (bars.open[7], bars.high[7], bars.low[7], bars.close[7], bars.volume[7]) == (107.0, 108.0, 106.0, 107.5, 3.5)
    assert bars.known_ns.tolist() == bars.close_ns.tolist()
    # All of it again: nothing is asked.
    exchange.asked.clear()
    again = fetch(0, 2500)
    assert (again.added, exchange.asked) == (0, [])


def test_the_open_bar_is_left_out(fetch: Fetch, store: Store, exchange: Exchange) -> None:
    exchange.hours = list(range(10))
    assert fetch(0, 10, now=7).bars == 7
    assert fetch(0, 10, now=9).added == 2
    with pytest.raises(InputError, match="no bar opens and closes"):
        fetch(20, 30, now=20)


def test_only_what_is_absent_is_asked(fetch: Fetch, exchange: Exchange) -> None:
    exchange.hours = list(range(60))
    fetch(20, 40)
    exchange.asked.clear()
    report = fetch(0, 60)
    assert (report.added, report.bars) == (40, 60)
    assert [(int(query["startTime"]) - START_MS) // HOUR_MS for query in exchange.asked] == [0, 40]


def test_gaps_are_asked_for_once_more(fetch: Fetch, exchange: Exchange) -> None:
    exchange.hours = [hour for hour in range(100) if hour not in (30, 31, 32, 70)]
    report = fetch(0, 100)
    assert [(gap.after_ns, gap.missing) for gap in report.gaps] == [
        (START + 29 * HOUR_NS, 3),
        (START + 69 * HOUR_NS, 1),
    ]
    first = [(int(query["startTime"]) - START_MS) // HOUR_MS for query in exchange.asked]
    assert first == [0, 30]  # both holes lie in one page
    exchange.asked.clear()
    assert len(fetch(0, 100).gaps) == 2
    assert exchange.asked == []


def test_a_gap_the_exchange_fills_later(fetch: Fetch, exchange: Exchange) -> None:
    exchange.hours = [hour for hour in range(50) if hour != 20]
    real, calls = exchange.answer, 0

    def answer(path: str, query: dict[str, str]) -> Answer:
        nonlocal calls
        calls += path.endswith("klines")
        if calls == 2:
            exchange.hours = list(range(50))
        return real(path, query)

    exchange.answer = answer  # type: ignore[method-assign]
    report = fetch(0, 50)
    assert (report.added, report.gaps) == (50, ())


def test_listed_after_the_start(fetch: Fetch, exchange: Exchange) -> None:
    exchange.hours = list(range(1500, 1600))
    report = fetch(0, 1600)
    assert (report.added, report.first_ns, report.gaps) == (100, START + 1500 * HOUR_NS, ())
    exchange.asked.clear()
    fetch(0, 1600)
    assert exchange.asked == []


def test_nothing_there_at_all(fetch: Fetch, exchange: Exchange) -> None:
    report = fetch(0, 2500)
    assert (report.bars, report.added, report.gaps) == (0, 0, ())
    assert len(exchange.asked) == 3


def test_a_smaller_page_than_asked_for(fetch: Fetch, exchange: Exchange) -> None:
    exchange.hours, exchange.limit_max = list(range(700)), 300
    assert fetch(0, 700).bars == 700
    assert len(exchange.asked) == 3


def test_interrupted_and_taken_up_again(fetch: Fetch, store: Store, exchange: Exchange) -> None:
    exchange.hours = list(range(2500))

    def stop(done: int, _: int) -> None:
        if done >= 1000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(0, 2500, progress=stop)
    assert len(store.bars("BTC/USDT", HOUR_NS)) == 1000
    exchange.asked.clear()
    report = fetch(0, 2500)
    assert (report.added, report.bars) == (1500, 2500)
    assert len(exchange.asked) == 2


def test_bad_bars_are_quarantined(fetch: Fetch, store: Store, exchange: Exchange) -> None:
    exchange.hours = list(range(10))
    exchange.special = {3: ("0", "1", "0", "1", "1"), 4: ("5", "4", "6", "5", "1")}
    report = fetch(0, 10)
    assert (report.added, report.quarantined) == (8, 2)
    assert set(store.rejects("bars")["reason"].to_pylist()) == {"open is zero", "high below low"}
    [line] = store.catalog()
    assert (line.rows, sum(line.quarantined.values()), line.missing) == (8, 2, 2)


BUSY = b'{"code":-1003,"msg":"Too much request weight used; current limit is 6000 request weight per 1 MINUTE."}'


@pytest.mark.parametrize(
    ("fault", "wait"),
    [
        ((429, {"Retry-After": "7"}, BUSY), 7.0),
        ((429, {}, BUSY), 1.0),
        ((500, {}, b"oops"), 1.0),
        ((502, {}, b"<html>bad gateway</html>"), 1.0),
        ((503, {}, b'{"code":-1016,"msg":"This service is no longer available."}'), 1.0),
        ((200, {}, b"[[1704067200000,"), 1.0),
        ((200, {}, b'{"surprise": 1}'), 1.0),
        ((200, {}, b"<html>maintenance</html>"), 1.0),
        ((200, {}, b'[["x",1,2]]'), 1.0),
        ((200, {}, b""), 1.0),
    ],
)
def test_faults_that_pass(fetch: Fetch, exchange: Exchange, fault: Answer, wait: float) -> None:
    exchange.hours, exchange.faults = list(range(10)), [fault]
    waits: list[float] = []
    report = fetch(0, 10, waits=waits)
    assert (report.added, report.gaps, report.quarantined) == (10, (), 0)
    assert waits == [wait]


def test_faults_that_stay(fetch: Fetch, store: Store, exchange: Exchange) -> None:
    exchange.hours = list(range(1500))
    exchange.faults = []
    fetch(0, 1000)
    exchange.faults = [(503, {}, b"down")] * 5
    waits: list[float] = []
    with pytest.raises(UnreachableError, match="no usable answer in 5 attempts.*run the same command again") as caught:
        fetch(0, 1500, waits=waits)
    assert caught.value.exit_code == 4
    assert waits == [1, 2, 4, 8]
    assert len(store.bars("BTC/USDT", HOUR_NS)) == 1000
    assert fetch(0, 1500).added == 500


def test_perpetuals_are_another_symbol(store: Store, exchange: Exchange) -> None:
    exchange.hours = list(range(5))
    report = fetch_bars(
        *(store, "binance", "BTC/USDT:USDT", HOUR_NS, START, START + 5 * HOUR_NS),
        now_ns=START + 9 * HOUR_NS,
        urls={"fapiPublic": exchange.url.replace("/api/v3", "/fapi/v1")},
    )
    assert (report.added, report.symbol) == (5, "BTC/USDT:USDT")
    assert len(store.bars("BTC/USDT:USDT", HOUR_NS)) == 5


def test_no_markets_are_no_answer(fetch: Fetch, exchange: Exchange) -> None:
    exchange.hours = list(range(3))
    real, broken = exchange.answer, [(200, {}, b'{"symbols": [{"sym'), (200, {}, b"{}")]

    def answer(path: str, query: dict[str, str]) -> Answer:
        return broken.pop() if broken and path.endswith("exchangeInfo") else real(path, query)

    exchange.answer = answer  # type: ignore[method-assign]
    waits: list[float] = []
    assert fetch(0, 3, waits=waits).bars == 3
    assert waits == [1, 2]


def test_a_ban_is_not_argued_with(fetch: Fetch, exchange: Exchange) -> None:
    exchange.hours = list(range(10))
    exchange.faults = [
        (418, {"Retry-After": "90"}, b'{"code":-1003,"msg":"Way too much request weight used; IP banned"}')
    ]
    with pytest.raises(UnreachableError, match="shut us out.*come back in 90 s"):
        fetch(0, 10)
    assert len(exchange.asked) == 1


def test_nobody_there(store: Store, exchange: Exchange) -> None:
    waits: list[float] = []
    with pytest.raises(UnreachableError, match="no usable answer"):
        fetch_bars(
            *(store, "binance", "BTC/USDT", HOUR_NS, START, START + HOUR_NS),
            now_ns=START + 9 * HOUR_NS,
            urls={"public": "http://127.0.0.1:9/api/v3"},
            wait=waits.append,
        )
    assert len(waits) == 4
    assert not store.root.exists()


def test_wrong_names(store: Store, exchange: Exchange) -> None:
    def attempt(name: str, symbol: str, interval_ns: int) -> None:
        urls = {"public": exchange.url}
        fetch_bars(store, name, symbol, interval_ns, START, START + HOUR_NS, now_ns=START + 9 * HOUR_NS, urls=urls)

    with pytest.raises(InputError, match="no such exchange.*binance"):
        attempt("binanse", "BTC/USDT", HOUR_NS)
    with pytest.raises(InputError, match=r"no such symbol.*BTC/USDT"):
        attempt("binance", "BTC/USD", HOUR_NS)
    with pytest.raises(InputError, match="no bars of that interval.*1m, "):
        attempt("binance", "BTC/USDT", 7 * HOUR_NS)


def test_the_store_folder_is_the_only_trace(fetch: Fetch, exchange: Exchange, var: Path) -> None:
    exchange.hours = list(range(3))
    fetch(0, 3)
    assert [path.name for path in var.iterdir()] == ["facts"]
