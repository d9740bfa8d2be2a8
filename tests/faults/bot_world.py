"""A real bot over the local venue, in processes of its own or in this one: how a test starts, feeds and judges it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bot.config import load_config
from bot.limit_table import limits_hash
from bot.operate.control import SOCKET_FILE, ask
from data.errors import TidegateError
from tests.venue.remote import HOUSE, RemoteVenue
from tests.venue.server import API_KEY, SECRET

ACCOUNT = "test"
CASH = "10000"
FOREIGN_BTC = "2"
PRICES = {"BTCUSDT": "50000", "ETHUSDT": "2000"}
BALANCES = {"USDT": "15000", "BTC": FOREIGN_BTC}
SYMBOLS = ("BTC/USDT", "ETH/USDT")

# Holds while the last close is above the one before it: a test says by its bars what the bot wants.
STRATEGY = '''"""Hold what rose in the last bar."""

from signals import Momentum
from strategies.base import Strategy


class Risen(Strategy):
    """Hold a coin after a bar that rose."""

    stop_loss = 0.05
    rise = Momentum(1)

    @staticmethod
    def weigh(s, p):
        """A fifth of equity, or nothing."""
        return 0.2 if s.rise > 0.0 else 0.0
'''

LIMITS: dict[str, Any] = {
    "order_notional": "4000", "orders_per_minute": 120, "orders_per_hour": 4000, "exit_reserve": "50%",
    "rate_breaches": 1000, "repeat_orders": 100, "repeat_window": "1m", "position_notional": "5000",
    "gross_notional": "9000", "net_notional": "9000", "gross_leverage": 1.0, "asset_share": "60%",
    "daily_loss": "50%", "daily_loss_flatten": "60%", "drawdown": "70%", "loss_streak": 10_000,
    "loss_streak_pause": "1s", "price_collar_bps": 500, "bar_age": "1h", "signal_age": "2d",
    "novelty_return_z": 1e9, "novelty_volume_z": 1e9, "novelty_pause": "1s", "flood_posts": 1000, "flood_z": 1e9,
    "flood_share": "100%", "flood_pause": "1s", "mood_jump": 100.0, "turnover_per_day": "100000000",
    "fees_per_day": "1000000", "strategy_errors": 5,
}  # fmt: skip


def config_text(urls: Mapping[str, str], **more: Mapping[str, Any]) -> str:
    """A whole configuration as TOML; `more` are sections, merged over these."""
    tables: dict[str, dict[str, Any]] = {
        "run": {"symbols": list(SYMBOLS), "strategy": "risen.py", "bar": "1s", "cash": CASH, "decision_delay": "250ms"},
        "exchange": {"id": "binance", "account": ACCOUNT, "urls": dict(urls), "recv_window": "2s", "timeout": "3s"},
        "live": {"reconcile_every": "2s", "settle": "200ms", "dead_man": "none", "heartbeat_after": "30s"},
        "limits": dict(LIMITS),
    }
    for name, table in more.items():
        tables[name] = {**tables.get(name, {}), **table}
    return "\n".join(_table(name, table) for name, table in tables.items())


def _table(name: str, table: Mapping[str, Any]) -> str:
    lines = [f"[{name}]"] + [f"{key} = {_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)


class Tape:
    """Bars of a second, closed as the second ends: history first, then one step after the other.

    Parameters
    ----------
    venue : RemoteVenue
    prices : mapping
        The last price of each of the venue's symbols.
    """

    def __init__(self, venue: RemoteVenue, prices: Mapping[str, str] | None = None, interval: str = "1s") -> None:
        self.venue, self.interval = venue, interval
        self.prices = {name: float(text) for name, text in (prices or PRICES).items()}
        now = int(self.venue.control("time")) // 1000 * 1000
        for back in range(90, 0, -1):
            for name, price in self.prices.items():
                self._bar(name, now - back * 1000, price, price, tell=False)

    def step(self, **moves: float) -> None:
        """Wait for the second's end; each symbol's price moves by its factor, and the bar that shows it is closed."""
        now = time.time()
        end = int(now) + 1
        time.sleep(max(end - now, 0.0))
        for name, price in self.prices.items():
            last = self.prices[name] = round(price * moves.get(name, 1.0), 2)
            if last != price:
                self.venue.control("price", symbol=name, price=f"{last}")
            self._bar(name, (end - 1) * 1000, price, last)
            self._bar(name, end * 1000, last, last, closed=False)

    def _bar(self, name: str, open_ms: int, first: float, last: float, **more: Any) -> None:
        values = [str(one) for one in (first, max(first, last), min(first, last), last, 100)]
        self.venue.control("bar", symbol=name, interval=self.interval, open_ms=open_ms, values=values, **more)


class Home:
    """Configuration, strategy and var folder of one bot.

    Parameters
    ----------
    folder : Path
        A short one, for the sockets' sake.
    urls : mapping
        Addresses of the venue.
    sections : mapping
        Of the configuration, merged.
    """

    def __init__(self, folder: Path, urls: Mapping[str, str], *, strategy: str = STRATEGY, **sections: Any) -> None:
        self.folder = folder
        self.config = folder / "tidegate.toml"
        self.config.write_text(config_text(urls, **sections))
        (folder / "risen.py").write_text(strategy)
        self.hash = limits_hash(load_config(self.config))
        self.var = folder / "v"
        self.account = self.var / "live" / "default"

    def said(self) -> str:
        """All that the bot printed."""
        out = self.folder / "out"
        return out.read_text() if out.exists() else ""

    def status(self) -> dict[str, Any] | None:
        """What the running bot says of itself; the venue alone is believed, this tells when to look."""
        try:
            return ask(self.account / SOCKET_FILE, {"do": "status"}, timeout_s=5.0)
        except TidegateError:
            return None

    def companions(self) -> list[int]:
        """Processes that work on this account's folder: the watchdog names it, the others hold its lock files."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid() and self._works_here(entry):
                found.append(int(entry.name))
        return found

    def _works_here(self, entry: Path) -> bool:
        folder = str(self.account)
        try:
            if folder in (entry / "cmdline").read_text(errors="replace"):
                return True
            return any(os.readlink(one).startswith(folder) for one in (entry / "fd").iterdir())
        except OSError:
            return False  # it has ended, or is none of ours

    def sweep(self) -> None:
        """End whatever still works on the folder."""
        for pid in self.companions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        limit = time.monotonic() + 5.0
        while self.companions() and time.monotonic() < limit:
            time.sleep(0.02)


class LiveBot(Home):
    """`python -m bot live` as a process of its own group; the parameters are `Home`'s."""

    process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str, key: tuple[str, str] = (API_KEY, SECRET)) -> None:
        """Start it; `ready` waits for it."""
        names = {f"TIDEGATE_{ACCOUNT.upper()}_KEY": key[0], f"TIDEGATE_{ACCOUNT.upper()}_SECRET": key[1]}
        environment = {**os.environ, **names, "PYTHONPATH": str(HOUSE), "TIDEGATE_VAR": str(self.var)}
        command = [sys.executable, "-m", "bot", "live", str(self.config), "--yes-i-accept-these-limits", self.hash]
        with open(self.folder / "out", "ab") as out:
            self.process = subprocess.Popen(
                [*command, *more], env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip

    def ready(self, patience_s: float = 60.0) -> dict[str, Any]:
        """Wait until it trades: reconciled, nothing standing against new risk."""
        return self.until(lambda told: told["exchange"]["ready"] and not told["exchange"]["conditions"], patience_s)

    def until(self, wanted: Callable[[dict[str, Any]], Any], patience_s: float = 20.0) -> dict[str, Any]:
        """Wait until the running bot's status is as wanted."""
        assert self.process is not None
        last: dict[str, Any] | None = None
        limit = time.monotonic() + patience_s
        while time.monotonic() < limit:
            last = self.status() or last
            if last is not None and wanted(last):
                return last
            if self.process.poll() is not None:
                raise AssertionError(f"the bot ended with {self.process.returncode}: {self.said()[-3000:]}")
            time.sleep(0.05)
        raise AssertionError(f"not in {patience_s} s: {json.dumps(last, default=str)[:3000]}\n{self.said()[-3000:]}")

    def wait(self, patience_s: float = 30.0) -> int:
        """Its exit code."""
        assert self.process is not None
        return self.process.wait(patience_s)

    def kill(self) -> None:
        """SIGKILL, as the machine would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.wait()

    def close(self) -> None:
        """End whatever of it still runs: the bot, its exchange process, its watchdog."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.sweep()

    def __enter__(self) -> LiveBot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
