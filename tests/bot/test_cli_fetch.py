"""The real command against a local exchange and a local source: interrupted, taken up again, equal to them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

from bot.cli import app
from data.market_series import LAG_NS
from data.store import Store
from data.times import DAY_NS, HOUR_NS, MILLISECOND_NS, format_time, parse_time
from tests.sources import fear_greed
from tests.venue.usdm import COINS, FUNDING_MS, HOUR_MS, Usdm, make_row, threaded

RUNNER = CliRunner()
START = parse_time("2024-03-01")
START_MS = START // MILLISECOND_NS
END = START + 90 * DAY_NS
SPAN = ("--since", format_time(START), "--until", format_time(END))
SYMBOLS = [f"{coin}/USDT:USDT" for coin in COINS]
CODE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from bot.cli import main; main()"


def run(*arguments: str) -> Result:
    """The command with those arguments, in this process."""
    return RUNNER.invoke(app, list(arguments))


class Gate:
    """Lets questions through, and holds the one of a number until it is told to go on."""

    def __init__(self, at: int) -> None:
        self.left, self.reached = at, threading.Event()

    async def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.reached.set()
            await asyncio.sleep(60)  # cancelled when the client hangs up


@pytest.fixture
def exchange() -> Iterator[Usdm]:
    held = Usdm(first_ms=START_MS - 100 * HOUR_MS, last_ms=START_MS + 2400 * HOUR_MS)
    with threaded(held.handle) as (url, _):
        held.url = url
        yield held


def interrupted(gate: Gate, *arguments: str) -> None:
    """The command in a process of its own, with Ctrl-C while it waits at the gate."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip
    try:
        assert gate.reached.wait(60), process.poll()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, told
    assert "goes on from there" in told


BAR_NAMES = ("open", "high", "low", "close", "volume")


def expected_bars(exchange: Usdm, name: str) -> dict[Any, Any]:
    """What has to be stored of a symbol's bars."""
    rows = exchange.rows("kline", name)
    inside = {at: row for at, row in rows.items() if START_MS <= at < START_MS + 2160 * HOUR_MS}
    return {at * MILLISECOND_NS: tuple(map(float, row[1:6])) for at, row in inside.items()}


@pytest.mark.parametrize(
    ("verb", "kind", "first", "at"),
    [("bars", "kline", 0, 8), ("funding", "funding", 0, 8), ("open-interest", "interest", -1, 13)],
)
def test_ninety_days_of_five_symbols_interrupted_and_resumed(
    exchange: Usdm, var: Path, verb: str, kind: str, first: int, at: int
) -> None:
    """Equal to the source at the end; what was stored isn't asked for again; gaps are refetched, or the exchange's."""
    step = FUNDING_MS if kind == "funding" else HOUR_MS
    exchange.absent = {(kind, "ETHUSDT", START_MS + 100 * step), (kind, "SOLUSDT", START_MS + 33 * step)}
    exchange.hidden = {(kind, f"{coin}USDT", START_MS + number * step) for coin in COINS for number in (7, 8, 200)}
    urls = [f"--url={name}={url}" for name, url in exchange.urls.items()]
    command = ("fetch", verb, "binance", *SYMBOLS, *SPAN, *urls, "--json")
    exchange.gate = gate = Gate(at)
    interrupted(gate, *command)
    store = Store(var)
    table = "bars" if verb == "bars" else "metrics"
    before = store.table(table).num_rows
    assert before > 0
    exchange.gate = None
    asked = len(exchange.asked)
    done = run(*command)
    assert done.exit_code == 0, done.output
    reports = json.loads(done.stdout)
    width = 2 if verb == "open-interest" else 1
    total = sum(report.get("rows", report.get("bars")) for report in reports) * width
    assert sum(report["added"] for report in reports) == total - before == store.table(table).num_rows - before
    assert [sum(gap["missing"] for gap in report["gaps"]) for report in reports] == [0, 1, 1, 0, 0]
    assert not exchange.hidden
    resumed = exchange.asked[asked:]
    assert all(query["symbol"] != "BTCUSDT" for _, query in resumed)  # it was whole before the interrupt
    check_equal(exchange, store, kind, first)
    exchange.asked.clear()
    assert sum(report["added"] for report in json.loads(run(*command).stdout)) == 0
    assert exchange.asked == []


def check_equal(exchange: Usdm, store: Store, kind: str, first: int) -> None:
    """What is stored is what the exchange holds, with the times that it has to have."""
    for coin, symbol in zip(COINS, SYMBOLS, strict=True):
        name = f"{coin}USDT"
        if kind == "kline":
            bars = store.bars(symbol, HOUR_NS)
            found = zip(bars.open, bars.high, bars.low, bars.close, bars.volume, strict=True)
            assert dict(zip(bars.open_ns.tolist(), found, strict=True)) == expected_bars(exchange, name)
            continue
        step = FUNDING_MS if kind == "funding" else HOUR_MS
        stamps = range(START_MS + first * HOUR_MS, START_MS + (2160 + first) * HOUR_MS, step)
        rows = [make_row(kind, name, at) for at in stamps if (kind, name, at) not in exchange.absent]
        if kind == "funding":
            series = {"funding_rate": [(at["fundingTime"] // HOUR_MS * HOUR_NS, at["fundingTime"] * MILLISECOND_NS,
                                        float(at["fundingRate"])) for at in rows]}  # fmt: skip
        else:
            ends = [at["timestamp"] * MILLISECOND_NS + HOUR_NS for at in rows]
            columns = {"open_interest": "sumOpenInterest", "open_interest_value": "sumOpenInterestValue"}
            series = {
                metric: [(end, end + LAG_NS, float(at[column])) for end, at in zip(ends, rows, strict=True)]
                for metric, column in columns.items()
            }
        for metric, wanted in series.items():
            table = store.table("metrics", {"name": [metric], "coin": [coin], "source": ["binance"]}).to_pylist()
            assert [(row["event_ns"], row["known_ns"], row["value"]) for row in table] == wanted


def test_it_says_what_it_did(exchange: Usdm) -> None:
    """For people: what came, from when to when, its known times, what the exchange doesn't keep."""
    exchange.last_ms, exchange.keeps_ms = START_MS + 90 * 24 * HOUR_MS, 48 * HOUR_MS
    urls = [f"--url={name}={url}" for name, url in exchange.urls.items()]
    span = ("--since", "2024-05-25", "--until", "2024-05-30")
    done = run("fetch", "long-short-ratio", "binance", SYMBOLS[0], *span, *urls)
    assert done.exit_code == 0, done.output
    assert "keeps nothing before 2024-05-28 01:00Z" in done.stdout
    assert "47 values of each stored" in done.stdout and "known 5m after" in done.stdout
    assert run("fetch", "open-interest", "binance", SYMBOLS[0], *span, "--interval", "1y").exit_code == 2


@pytest.fixture
def index() -> Iterator[tuple[str, Callable[..., None]]]:
    """The local world of a free source, with its address and a way to spoil its next answers."""
    world, faults = fear_greed.make(), list[web.Response]()

    async def answer(request: web.Request) -> web.StreamResponse:
        return faults.pop(0) if faults else await world.handler(request)

    with threaded(answer) as (url, _):
        yield f"{url}/fng/", lambda *given: faults.extend(given)


def test_any_source_that_keeps_history(index: Any, var: Path) -> None:
    """A word that is no verb is a source: its history is stored once, with the terms said; faults are waited out."""
    url, spoil = index
    world = fear_greed.make()
    assert world.span is not None and world.history is not None
    span = ("--since", format_time(world.span[0]), "--until", format_time(world.span[1]))
    spoil(web.Response(status=500))
    done = run("fetch", "fear_greed", *span, "--set", f"url={url}", "--json")
    assert done.exit_code == 0, done.output
    assert "HTTP 500; asked again in 1 s" in done.stderr
    report = json.loads(done.stdout)
    assert (report["added"], report["unchanged"], report["attempts"]) == (15, 0, 2)
    rows = Store(var).table("metrics").to_pylist()
    assert [(row["event_ns"], row["value"]) for row in rows] == [(at.event_ns, at.value) for at in world.history()]  # type: ignore[union-attr]
    again = run("fetch", "source", "fear_greed", *span, "--set", f"url={url}")
    assert "0 added, 15 unchanged" in again.stdout and "attribution asked" in again.stdout


def test_a_source_that_gives_up_says_so(index: Any, var: Path) -> None:
    """A plain refusal ends at once; a long pause is told, not slept; options are checked by their names."""
    url, spoil = index
    span = ("--since", "2025-09-01", "--until", "2025-09-20")
    spoil(web.Response(status=403))
    refused = run("fetch", "fear_greed", *span, "--set", f"url={url}")
    assert refused.exit_code == 4 and "HTTP 403" in refused.stderr
    spoil(web.Response(status=429, headers={"Retry-After": "4000"}))
    busy = run("fetch", "fear_greed", *span, "--set", f"url={url}")
    assert busy.exit_code == 4 and "left alone for 4000 s" in busy.stderr
    for wrong in ("adress=x", "every=soon", "every", "every=1"):
        done = run("fetch", "fear_greed", *span, "--set", wrong)
        assert done.exit_code == 2 and wrong.partition("=")[0] in done.stderr, done.stderr
    assert "Perhaps fear_greed" in run("fetch", "fear_gred", *span).stderr
    private = run("fetch", "fear_greed", *span, "--set", "every=20", "--until", "2025-08-01")
    assert private.exit_code == 2 and "empty" in private.stderr


def test_sources_are_listed_with_what_they_allow() -> None:
    """All of them, with terms; one of them with its options."""
    from data.sources import all_sources

    listed = json.loads(run("sources", "--json").stdout)
    assert [card["name"] for card in listed] == list(all_sources())
    for card in listed:
        assert card["terms"]["url"].startswith("https://") and card["options"] and card["title"]
    shown = run("sources")
    assert shown.exit_code == 0 and "fear_greed" in shown.stdout and "attribution" in shown.stdout
    one = run("sources", "fear_greed")
    assert "seconds between two questions" in one.stdout and "known 1h after the event" in one.stdout
    assert run("sources", "nothing").exit_code == 2


def test_options_of_a_source_come_from_its_table(index: Any, tmp_path: Path, var: Path) -> None:
    """A table of any name that uses a source is fetched by that name; `--set` goes before it."""
    url, _ = index
    file = tmp_path / "own.toml"
    own = f'[feeds.mood]\nuse = "fear_greed"\nurl = "{url}"\n'
    file.write_text(f'[run]\nsymbols = ["BTC/USDT"]\nstrategy = "mood-momentum"\n\n{own}')
    span = ("--since", "2025-09-01", "--until", "2025-09-04", "--config", str(file))
    done = run("fetch", "mood", *span)
    assert done.exit_code == 0 and "3 added" in done.stdout, done.output
    assert run("fetch", "mood", *span, "--set", "every=1").exit_code == 2


def test_a_key_is_named_and_never_written_out() -> None:
    """A source with a key says that it needs one, and where to keep it; a secret isn't taken, nor repeated."""
    span = ("--since", "2025-09-01", "--until", "2025-09-04")
    absent = run("fetch", "glassnode", *span, "--set", "coins=BTC")
    assert absent.exit_code == 2 and "needs a key" in absent.stderr and "env:NAME" in absent.stderr
    written = run("fetch", "glassnode", *span, "--set", "key=hunter2hunter2")
    assert written.exit_code == 2 and "hunter2" not in written.stderr
    nowhere = run("fetch", "glassnode", *span, "--set", "key=env:NO_SUCH_VARIABLE", "--set", "coins=BTC")
    assert nowhere.exit_code == 2 and "NO_SUCH_VARIABLE" in nowhere.stderr
