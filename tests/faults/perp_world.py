"""A live session of perpetuals in one loop: bot, exchange process and local venue; a test gives bars and prices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from bot.config import load_config
from bot.events import Bar, Operator
from bot.exchange.client import SocketTransport
from bot.exchange.keys import Key
from bot.exchange.line import VenueSettings
from bot.exchange.process import SOCKET, Process
from bot.exchange.settings import read_settings
from bot.exchange.venue import ExchangeVenue
from bot.feeds.door import Door
from bot.journal import Reader
from bot.journal.chain import JournalError
from bot.replay import Differences, replay_batch, replay_engine
from bot.run import Bot
from bot.session import live
from bot.session.opening import Opened, bot_id_of, folder_of, open_session
from bot.session.running import SystemClock
from bot.session.terms import engine_of, spec_of, spec_of_header, with_markets
from tests.bot.exchange_worlds import QUICK, activate, urls_of
from tests.faults.bot_world import LIMITS, config_text
from tests.venue.bybit import LocalPerpVenue
from tests.venue.records import Order, Position

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
PRICES = {"BTCUSDT": "50000", "ETHUSDT": "2000"}
NAMES = {BTC: "BTCUSDT", ETH: "ETHUSDT"}
SECOND = 10**9

# Long after a bar that rose, short after one that fell, out after one that stood still.
STRATEGY = '''"""Go with the last bar."""

from signals import Momentum
from strategies.base import Strategy


class Along(Strategy):
    """Long or short after the last bar."""

    stop_loss = 0.05
    take_profit = 0.1
    short = True
    move = Momentum(1)

    @staticmethod
    def weigh(s, p):
        """A fifth of equity either way, or nothing."""
        return 0.2 if s.move > 0.0 else (-0.2 if s.move < 0.0 else 0.0)
'''
SHORT = VenueSettings(
    recv_window_s=1.0, fence_s=0.5, timeout_s=3.0, reconcile_s=0.3, poll_s=0.2, confirm_s=0.05, backoff_s=0.02,
    backoff_most_s=0.2, unreachable_most_s=0.5, trades_grace_s=0.05, start_s=40.0, unknown_orders=3,
)  # fmt: skip


@dataclass
class Life:
    """One start of the bot."""

    world: PerpWorld
    opened: Opened
    runner: Bot
    venue: ExchangeVenue
    transport: SocketTransport
    task: asyncio.Task[None]
    alarms: list[str] = field(default_factory=list)

    def held(self, symbol: str = BTC) -> float:
        """What the desk holds."""
        books = self.opened.engine.desk.books
        return float(books["qty"][self.opened.engine.symbols.index(symbol)])

    @property
    def account(self) -> Any:
        """The desk's account record."""
        return self.opened.engine.desk.account

    def money(self) -> float:
        """Free wallet and margins of the desk: what the venue's wallet has of ours."""
        return float(self.account["cash"] + self.opened.engine.desk.books["margin"].sum())

    def standing(self) -> list[str]:
        """Causes that stand in the engine."""
        return sorted({cause for cause, _ in self.opened.engine.ear.standing})

    async def until(self, true: Callable[[], Any], seconds: float = 40.0) -> None:
        """Wait until something is true; a bot that ended fails."""
        limit = time.monotonic() + seconds
        while not true():
            if self.task.done():
                self.task.result()
                raise AssertionError("the bot has ended")
            if time.monotonic() > limit:
                raise AssertionError(f"not in {seconds} s: {self.describe()}")
            await asyncio.sleep(0.005)

    def describe(self) -> str:
        """For whoever reads a failure."""
        desk = self.opened.engine.desk
        orders = [(int(o["id"]), int(o["kind"]), int(o["state"]), float(o["qty"])) for o in desk.working]
        return json.dumps([self.held(), orders, self.standing(), self.venue.health(), self.alarms], default=str)

    async def ready(self) -> None:
        """Reconciled, and nothing in the way of new risk."""
        await self.until(lambda: self.venue.health()["ready"] and not self.venue.health()["conditions"])
        await self.until(lambda: not self.standing())

    async def bars(self, **moves: float) -> None:
        """One bar of every symbol, closed; `moves` are factors by the venue's names, and the venue's prices follow."""
        self.world.close_ns += SECOND
        for symbol, name in NAMES.items():
            before = self.world.prices[name]
            now = self.world.prices[name] = round(before * moves.get(name, 1.0), 1)
            if now != before:
                self.world.venue.set_price(name, str(now))
            self.runner.door.put(self.world.bar(symbol, before, now))
        await self.runner.door.drained()

    async def settled(self, symbol: str = BTC) -> None:
        """The desk holds what the venue has, no entry or exit works, and what is held has its stop and its target."""

        def quiet() -> bool:
            desk = self.opened.engine.desk
            kinds = sorted(int(order["kind"]) for order in desk.working)
            protected = [kind for kind in kinds if kind in (3, 4)]
            symbols = sum(self.held(one) != 0.0 for one in NAMES)
            same = all(abs(self.held(one) - float(self.world.position(one).qty)) < 1e-9 for one in NAMES)
            there = sum(order.waits for order in self.world.ours_open())
            return same and kinds == protected and len(kinds) == 2 * symbols == there

        await self.until(quiet)

    async def stop(self) -> None:
        """As SIGTERM does it."""
        self.runner.stop()
        await self.task
        await self._close()

    async def kill(self) -> None:
        """As good as SIGKILL in one process: nothing more is written or sent from here on."""
        self.runner.failed = JournalError("killed", why="io")
        self.opened.journal.rollback()
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        await self._close()

    async def _close(self) -> None:
        await self.transport.close()
        self.opened.close(time.time_ns())


class PerpWorld:
    """The venue, the exchange process, and lives of one bot."""

    def __init__(
        self, folder: Path, venue: LocalPerpVenue, sections: Mapping[str, Any], settings: VenueSettings
    ) -> None:  # fmt: skip
        self.venue, self.settings = venue, settings
        usual: dict[str, dict[str, Any]] = {
            "run": {
                "symbols": [BTC, ETH], "market": "perp", "leverage": 3, "strategy": "along.py", "cash": "10000",
                "decision_delay": "2h",
            },
            "limits": {**LIMITS, "gross_leverage": 3.0, "gross_notional": "20000", "net_notional": "20000"},
            "exchange": {"id": "bybit"},
        }  # fmt: skip
        parts = {name: {**usual.get(name, {}), **sections.get(name, {})} for name in {*usual, *sections}}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "along.py").write_text(STRATEGY)
        (folder / "tidegate.toml").write_text(config_text(urls_of(venue), **parts))
        self.config = load_config(folder / "tidegate.toml")
        self.folder = folder_of(self.config, folder / "v", "live")
        activate(self.folder)
        self.prices = {name: float(price) for name, price in PRICES.items()}
        self.close_ns = time.time_ns() // SECOND * SECOND - 600 * SECOND
        self.clock = SystemClock()
        self.process: Process | None = None
        self.now: Life | None = None

    # --- the exchange process -----------------------------------------------------------------------------------------
    async def start_process(self) -> None:
        """Start it in this loop, as `tidegate live` would tell it to."""
        document = live.document_of(
            self.config, spec_of(self.config), bot_id=bot_id_of(self.folder), folder=self.folder
        )
        key = Key(self.venue.key.api, self.venue.key.secret, None, "a test")
        self.process = Process(read_settings(json.dumps(document)), key, QUICK)
        await self.process.start()

    async def stop_process(self) -> None:
        """End it."""
        if self.process is not None:
            await self.process.stop()
        self.process = None

    # --- the bot ------------------------------------------------------------------------------------------------------
    async def start(self) -> Life:
        """Start the bot: what `bot.session.real` does between preflight and run."""
        asking = SocketTransport(self.folder / SOCKET, bot_id=bot_id_of(self.folder), session="0" * 7 + "1")
        await asking.connect(timeout_s=20)
        try:
            spec = spec_of(self.config)
            views = await live.read_markets(asking, spec.symbols)
        finally:
            await asking.close()
        markets = {symbol: live.market_spec(view) for symbol, view in views.items()}
        spec = live.with_fees(with_markets(spec, markets, {}), views)
        opened = open_session(
            self.config, spec, self.folder, mode="live", now_ns=self.clock.now_ns(), person="tester", outside=True,
            stops=all(view.stops for view in views.values()), warm=self.history, tell=lambda text: None,
        )  # fmt: skip
        transport = SocketTransport(self.folder / SOCKET, bot_id=opened.bot_id, session=opened.session)
        await transport.connect(timeout_s=20)
        alarms: list[str] = []
        with mock.patch.object(live, "venue_settings", lambda config: self.settings):
            venue = live.venue_of(
                opened, self.config, transport, self.clock, lambda kind, text: alarms.append(f"{kind}: {text}")
            )
        runner = Bot(
            opened.engine, opened.journal, clock=self.clock, door=Door(1000), venue=venue, session=opened.session,
            sessions=opened.recovered.sessions, tick_s=0.05,
        )  # fmt: skip
        self.now = Life(self, opened, runner, venue, transport, asyncio.create_task(runner.run()), alarms)
        return self.now

    def history(self) -> list[Bar]:
        """Bars that stood still."""
        found = []
        for back in range(60, -1, -1):
            close_ns = self.close_ns - back * SECOND
            for symbol, name in NAMES.items():
                price = self.prices[name]
                found.append(replace(self.bar(symbol, price, price), close_ns=close_ns, open_ns=close_ns - SECOND))
        return found

    def bar(self, symbol: str, opened: float, closed: float) -> Bar:
        """The newest bar."""
        return Bar(
            ns=0, symbol=symbol, open_ns=self.close_ns - SECOND, close_ns=self.close_ns, open=opened, close=closed,
            high=max(opened, closed), low=min(opened, closed), volume=10.0,
        )  # fmt: skip

    def say(self, act: str, **more: Any) -> None:
        """An operator's word."""
        assert self.now is not None
        self.now.runner.door.put(Operator(ns=0, act=act, person="tester", reason="a test", **more))

    # --- the judge ----------------------------------------------------------------------------------------------------
    def position(self, symbol: str = BTC) -> Position:
        """What the venue says is held."""
        return self.venue.engine.account("main").position(NAMES[symbol])

    def ours_open(self, symbol: str | None = None) -> list[Order]:
        """Our orders that stand there."""
        prefix = bot_id_of(self.folder)
        stand = self.venue.engine.open_orders("main", None if symbol is None else NAMES[symbol])
        return [one for one in stand if one.client_id.startswith(prefix)]

    def wallet(self) -> float:
        """The venue's wallet: free, locked, and the margins of positions."""
        account = self.venue.engine.account("main")
        return float(account.total("USDT") + sum(one.margin for one in account.positions.values()))

    def replays(self) -> tuple[Differences, Differences]:
        """The journal through the engine and through the batch form."""
        reader = Reader(self.folder / "journal.sqlite")
        try:
            header = reader.header
            spec = spec_of_header(header)
            again = replay_engine(engine_of(spec, header), reader)
            batch = replay_batch(spec, header["coins"], reader, outside=True, stops=bool(header["stops"]))
            return again, batch
        finally:
            reader.close()


Story = Callable[[PerpWorld], Awaitable[None]]


@asynccontextmanager
async def perp_world(
    folder: Path, *, settings: VenueSettings = SHORT, venue: Mapping[str, Any] | None = None, **sections: Any
) -> AsyncIterator[PerpWorld]:
    """A venue and a process that run; what still runs at the end is ended."""
    given = {"balances": {"USDT": "15000"}, "prices": PRICES, **(venue or {})}
    async with LocalPerpVenue(**given) as there:
        world = PerpWorld(folder, there, sections, settings)
        await world.start_process()
        try:
            yield world
        finally:
            if world.now is not None and not world.now.task.done():
                await world.now.stop()
            await world.stop_process()


def play(story: Story, *, same: bool = True, **more: Any) -> None:
    """Play a story in a folder whose path is short enough for sockets; afterwards the journal replays the same."""

    async def run(folder: Path) -> None:
        async with perp_world(folder, **more) as world:
            await story(world)
            if world.now is not None and not world.now.task.done():
                await world.now.stop()
            if same:
                for found in world.replays():
                    assert found.none, found.body()
                    assert found.compared["events" if found.way == "engine" else "decisions"], found.body()

    with tempfile.TemporaryDirectory() as short:
        asyncio.run(run(Path(short)))
