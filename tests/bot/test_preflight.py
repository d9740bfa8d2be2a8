"""Before a live session: each check by what it is told."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot import preflight_checks
from bot.doctor import Finding
from bot.exchange.wire import (
    Balances,
    BalancesAre,
    BalanceView,
    Clock,
    ClockIs,
    Failed,
    Markets,
    MarketView,
    Message,
    OpenOrders,
    OrdersAre,
    OrderView,
    Positions,
    PositionsAre,
    PositionView,
    Rights,
    RightsAre,
)
from bot.limit_table import limits_hash
from bot.operate.latch import ACTIVE, HALTED, write_latch
from bot.operate.lock import acquire
from bot.ports import NotConnected
from bot.preflight import preflight, refuse_failed
from bot.session.terms import spec_of
from data.errors import RefusedError
from data.facts import fact_table
from data.store import Store
from data.times import DAY_NS, HOUR_NS
from tests.bot.preflight_world import ALL, BTC, NOW, configured

GUARDED = """
from signals import EMA
from strategies.base import Strategy


class Guarded(Strategy):
    fast = EMA(5)
    stop_loss = 0.05
    take_profit = 0.1

    @staticmethod
    def weigh(s, p):
        return 0.5
"""
VIEW = MarketView(
    symbol=BTC, active=True, tick="0.01", lot="0.00001", min_qty="0.00001", min_notional="5", maker="0.001",
    taker="0.001",
)  # fmt: skip
ORDER = OrderView(client_id="", venue_id="7", symbol=BTC, side="buy", kind="limit", qty="1", filled="0", status="open")


class Said:
    """A transport that answers by the kind of question; what is an exception is raised."""

    def __init__(self, **more: Message | Exception) -> None:
        self.answers: dict[str, Message | Exception] = {
            "Rights": RightsAre(can_trade=True, can_withdraw=False, detail="bound to addresses"),
            "Clock": ClockIs(offset_ms=12.0, round_trip_ms=30.0),
            "Markets": Failed(text="the venue has no BTC/USDT"),
            "Balances": BalancesAre(balances=(BalanceView(coin="USDT", free="20000", total="20000"),)),
            "Positions": PositionsAre(positions=()),
            "OpenOrders": OrdersAre(orders=()),
            **more,
        }
        self.asked: list[Message] = []

    async def ask(self, message: Message, *, timeout_s: float) -> Message:
        """The answer of that kind."""
        assert isinstance(message, (Rights, Clock, Markets, Balances, Positions, OpenOrders))  # questions only
        self.asked.append(message)
        answer = self.answers[type(message).__name__]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def pushes(self) -> AsyncIterator[Message]:
        """None."""
        return
        yield

    async def close(self) -> None:
        """Nothing to do."""


class Desk:
    """One folder, configuration and store, to look at again and again."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp, self.folder, self.store = tmp_path, tmp_path / "live" / "default", Store(tmp_path / "facts")

    def look(
        self, *settings: str, views: dict[str, MarketView] | None = None, unknown_rights: bool = False,
        prices: dict[str, float] | None = None, strategy: str = "buy-and-hold", limits: str = ALL, **said: Any,
    ) -> list[Finding]:  # fmt: skip
        """The findings."""
        config = configured(self.tmp, *settings, strategy=strategy, limits=limits)
        found = preflight(
            config, spec_of(config), Said(**said), folder=self.folder, store=self.store,
            views={BTC: VIEW} if views is None else views, now_ns=NOW, unknown_rights=unknown_rights,
            prices={BTC: 50_000.0} if prices is None else prices,
        )  # fmt: skip
        return asyncio.run(found)

    def of(self, check: str, *settings: str, **more: Any) -> list[tuple[str, str]]:
        """Status and whole text of one check."""
        return [(f.status, f"{f.found} | {f.remedy}") for f in self.look(*settings, **more) if f.check == check]

    def one(self, check: str, *settings: str, **more: Any) -> tuple[str, str]:
        """The same where there is only one finding."""
        (found,) = self.of(check, *settings, **more)
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An account that never ran."""
    return Desk(tmp_path)


def test_all_is_well(desk: Desk) -> None:
    """A sound venue and machine: nothing warns, nothing fails, and all that is promised was looked at."""
    found = desk.look()
    slow = {"journal fsync", "journal disk"}  # this machine's own affair
    assert {f.status for f in found if f.check not in slow} == {"ok"}, found
    checks = "venue,key,clock,markets,minimums,fees,protection,balance,orders,configuration,limits,decision"
    assert ",".join(f.check for f in found) == f"{checks},journal disk,journal fsync,latch,lock,model"
    refuse_failed([replace(f, status="ok") for f in found])


def test_rights(desk: Desk) -> None:
    """A key that withdraws or can't trade fails; one of which nothing is told fails until a person accepts that."""

    def key(trade: bool | None, withdraw: bool | None, **more: Any) -> list[tuple[str, str]]:
        return desk.of("key", Rights=RightsAre(can_trade=trade, can_withdraw=withdraw), **more)

    assert [status for status, _ in key(True, True)] == ["fail"] and "can withdraw" in key(True, True)[0][1]
    assert [status for status, _ in key(False, False)] == ["fail"] and "can't trade" in key(False, False)[0][1]
    assert [status for status, _ in key(False, True)] == ["fail", "fail"]
    for trade, withdraw in ((None, None), (True, None), (None, False)):
        (found,) = key(trade, withdraw)
        assert found[0] == "fail" and "--accept-unknown-rights" in found[1]
        assert [status for status, _ in key(trade, withdraw, unknown_rights=True)] == ["warn"]
    assert "fail" in [status for status, _ in key(None, True, unknown_rights=True)]
    anywhere = RightsAre(can_trade=True, can_withdraw=False, detail="usable from any address")
    status, text = desk.one("key", Rights=anywhere)
    assert status == "ok" and "Bind it" in text
    revoked = desk.of("key", Rights=Failed(text="Invalid API-key", revoked=True), unknown_rights=True)
    assert revoked[0][0] == "fail" and "isn't valid any more" in revoked[0][1]


def test_clock(desk: Desk) -> None:
    """A clock beyond live.clock_offset fails; a way so slow that nobody can tell warns."""
    assert desk.one("clock", Clock=ClockIs(offset_ms=-501, round_trip_ms=20))[0] == "fail"
    assert desk.one("clock", "live.clock_offset=600ms", Clock=ClockIs(offset_ms=-501, round_trip_ms=20))[0] == "ok"
    assert desk.one("clock", Clock=ClockIs(offset_ms=float("nan"), round_trip_ms=20))[0] == "fail"
    assert desk.one("clock", Clock=ClockIs(offset_ms=3, round_trip_ms=1500))[0] == "warn"


@pytest.mark.parametrize("error", [TimeoutError(), NotConnected("nobody there"), ConnectionError(), Failed(text="ban")])
def test_no_answer_fails(desk: Desk, error: Any) -> None:
    """What the venue doesn't answer fails, each by its name, and nothing is raised."""
    names = ("Rights", "Clock", "Balances", "OpenOrders", "Markets")
    found = desk.look(views={}, **dict.fromkeys(names, error))
    assert {f.check for f in found if f.status == "fail"} == {"key", "clock", "markets", "balance", "orders"}
    assert all(f.found and f.remedy for f in found if f.status == "fail")
    with pytest.raises(RefusedError, match="5 checks failed"):
        refuse_failed(found)


def test_markets(desk: Desk) -> None:
    """A market that isn't there is named with the venue's reason, a closed one too."""
    status, text = desk.one("markets", views={})
    assert status == "fail" and "the venue has no BTC/USDT" in text
    status, text = desk.one("markets", views={BTC: replace(VIEW, active=False)})
    assert status == "fail" and "closed" in text


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("limits.order_notional=4", "limits.order_notional = 4 allows orders of 4.00 USDT; the venue takes none below "
         "5.00 USDT | Set limits.order_notional to 6.25 USDT or more"),
        ("limits.position_notional=0.04%", "Set limits.position_notional to 0.1% or more, or raise run.cash"),
        ("limits.asset_share=0.04%", "limits.asset_share = 0.04% allows orders of 4.00 USDT"),
        ("limits.turnover_per_day=4.99", "limits.turnover_per_day = 4.99"),
        ("limits.gross_leverage=0.0004", "limits.gross_leverage = 0.04%"),
    ],
)  # fmt: skip
def test_orders_that_could_never_be_large_enough(desk: Desk, setting: str, told: str) -> None:
    """Each limit under the venue's minimum fails with its key, its value and what to set it to."""
    status, text = desk.one("minimums", setting)
    assert status == "fail" and told in text


def test_minimums(desk: Desk) -> None:
    """The least quantity counts at its price; near the minimum and coarse steps warn; without a price it is said."""
    whole = {BTC: replace(VIEW, min_qty="0.1", lot="0.1")}  # 5,000 USDT
    status, text = desk.one("minimums", views=whole)
    assert status == "fail" and "limits.order_notional = 25%" in text and "5,000.00 USDT" in text
    assert desk.one("minimums", views=whole, prices={})[1].startswith("no price is stored")
    status, text = desk.one("minimums", "limits.order_notional=6")
    assert status == "warn" and "can't be sold" in text
    status, text = desk.one("minimums", views={BTC: replace(VIEW, lot="0.01")})
    assert status == "warn" and "steps of 0.01" in text
    status, text = desk.one("minimums", "run.size=quantity", "run.stake=0.000001")
    assert status == "fail" and "run.stake" in text
    assert desk.one("minimums", "run.size=notional", "run.stake=4")[0] == "fail"
    assert desk.one("minimums", "live.canary=true")[0] == "ok"
    status, text = desk.one("minimums", "live.canary=true", views={BTC: replace(VIEW, min_qty="0.001")})
    assert status == "fail" and "live.canary" in text
    tagged = ALL + 'tag_share = { major = "0.01%" }\n[tags]\nBTC = "major"\n'
    assert "limits.tag_share.major = 0.01%" in desk.one("minimums", limits=tagged)[1]


def test_fees(desk: Desk) -> None:
    """Dearer than configured warns, with the key to set."""
    status, text = desk.one("fees", views={BTC: replace(VIEW, taker="0.0026")})
    assert status == "warn" and "fill.taker_bps = 26" in text
    assert desk.one("fees", "fill.taker_bps=26", views={BTC: replace(VIEW, taker="0.0026")})[0] == "ok"


def test_protection(desk: Desk) -> None:
    """Stops that the venue doesn't keep warn, and so does a take-profit at a spot venue."""
    file = desk.tmp / "guarded.py"
    file.write_text(GUARDED)
    found = desk.of("protection", strategy=file.name)
    assert [status for status, _ in found] == ["ok", "warn"] and "take_profit" in found[1][1]
    found = desk.of("protection", strategy=file.name, views={BTC: replace(VIEW, stops=False)})
    assert [status for status, _ in found] == ["warn", "warn"] and "no stops for BTC/USDT" in found[0][1]


def test_balances(desk: Desk) -> None:
    """A first session needs its allocation; others' coins warn; a session that goes on isn't measured by it."""

    def held(**coins: str) -> BalancesAre:
        views = (BalanceView(coin=coin, free=text, total=text) for coin, text in coins.items())
        return BalancesAre(balances=tuple(views))

    status, text = desk.one("balance", Balances=held(USDT="9999.5"))
    assert status == "fail" and "Bring in 0.5 USDT" in text
    assert desk.one("balance", Balances=held())[0] == "fail"
    tied = BalancesAre(balances=(BalanceView(coin="USDT", free="10", total="20000"),))
    assert desk.one("balance", Balances=tied)[0] == "warn"
    status, text = desk.one("foreign", Balances=held(USDT="10000", BTC="2", ETH="5"))
    assert status == "warn" and "2 BTC" in text and "ETH" not in text and "never touched" in text
    assert not desk.of("foreign", Balances=held(USDT="10000", BTC="0.00001"))
    desk.folder.mkdir(parents=True)
    (desk.folder / "journal.sqlite").write_bytes(b"whatever")
    assert desk.one("balance", Balances=held())[0] == "ok"


def test_positions(desk: Desk) -> None:
    """On perpetuals others' positions warn, and positions that can't be read fail."""
    view = PositionView(symbol=BTC, qty="-0.5", entry_price="1", mark_price="1")
    perp = ("run.market=perp", "fill.funding=0.01%")
    status, text = desk.one("foreign", *perp, Positions=PositionsAre(positions=(view,)))
    assert status == "warn" and "-0.5 BTC/USDT" in text
    assert desk.one("positions", *perp, Positions=Failed(text="the bot needs the one-way mode"))[0] == "fail"


def test_orders_of_others(desk: Desk) -> None:
    """They are counted, those of the traded symbols apart."""
    status, text = desk.one("orders", OpenOrders=OrdersAre(orders=(ORDER, replace(ORDER, symbol="XRP/USDT"))))
    assert status == "warn" and "2 open that aren't the bot's, 1 of them in its symbols" in text


def test_limits_and_decision(desk: Desk) -> None:
    """A limit left to a default fails by name; a decision before all bars are in warns."""
    status, text = desk.one("limits", limits=ALL.replace("drawdown", "#"))
    assert status == "fail" and "limits.drawdown" in text
    assert limits_hash(configured(desk.tmp))[:12] in desk.one("limits")[1]
    two = ("run.symbols=BTC/USDT,ETH/USDT", "live.settle=10s")
    assert desk.one("decision", *two)[0] == "warn"
    assert desk.one("decision", "run.decision_delay=1s")[0] == "ok"


def test_disk(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow durable writes warn and then fail; a full disk fails; nothing is left behind."""
    desk.folder.mkdir(parents=True)
    for ms, status in ((1.0, "ok"), (21.0, "warn"), (501.0, "fail")):
        monkeypatch.setattr(preflight_checks, "measure_fsync", lambda folder, ms=ms: [ms] * 7)
        assert desk.one("journal fsync")[0] == status
    monkeypatch.undo()
    assert len(preflight_checks.measure_fsync(desk.folder, 3)) == 3 and not list(desk.folder.iterdir())
    usage = shutil._ntuple_diskusage(10**12, 10**12, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert desk.one("journal disk")[0] == "fail"

    def broken(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    assert desk.one("journal fsync")[0] == "fail"


def test_latch_and_lock(desk: Desk) -> None:
    """HALTED fails with the way out, also where the latch of an account that ran is missing; so does another bot."""
    desk.folder.mkdir(parents=True)
    write_latch(desk.folder, HALTED, "ann", "drawdown", NOW)
    status, text = desk.one("latch")
    assert status == "fail" and "ann: drawdown" in text and "tidegate resume" in text
    write_latch(desk.folder, ACTIVE, "ann", "looked at it", NOW)
    assert desk.one("latch")[0] == "ok"
    (desk.folder / "latch").unlink()
    (desk.folder / "journal.sqlite").write_bytes(b"whatever")
    assert desk.one("latch")[0] == "fail"
    mine = acquire(desk.folder, session="11112222", bot_id="0a1b2c3d", now_ns=NOW)
    assert desk.one("lock")[0] == "ok"  # this very process
    body = (desk.folder / "lock").read_text()
    (desk.folder / "lock").write_text(body.replace(f'"pid": {os.getpid()}', '"pid": 1'))
    status, text = desk.one("lock")
    assert status == "fail" and "process 1" in text
    mine.release(NOW)
    (desk.folder / "lease").write_text((desk.folder / "lock").read_text())
    status, text = desk.one("lock")
    assert status == "warn" and "never gave it back" in text


def test_scores(desk: Desk) -> None:
    """Without scores of the pinned model, or with stale ones, it is said; metrics the same."""
    status, text = desk.one("scores", strategy="mood-momentum")
    assert status == "warn" and "none are stored" in text
    spec = spec_of(configured(desk.tmp, strategy="mood-momentum"))
    for known, wanted in ((NOW - 3 * DAY_NS, "warn"), (NOW - HOUR_NS, "ok")):
        rows = score_row(known, spec.model, spec.model_revision)
        desk.store.append("sentiment", rows)
        status, text = desk.one("scores", strategy="mood-momentum")
        assert status == wanted, text
    assert desk.one("metrics", strategy="fear-greed")[0] == "warn"


def score_row(known_ns: int, model: str, revision: str) -> Any:
    """One score about BTC."""
    columns = {
        "source": "reddit", "key": [str(known_ns)], "coin": ["BTC"], "event_ns": [known_ns], "known_ns": [known_ns],
        "ingested_ns": known_ns, "quality": "recorded", "score": [0.5], "p_bearish": 0.2, "p_neutral": 0.2,
        "p_bullish": 0.6, "followers": 500.0, "author": "ann", "model": model, "model_revision": revision, "cluster": 3,
        "flags": 1,
    }  # fmt: skip
    return fact_table("sentiment", columns)
