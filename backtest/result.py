"""What one run leaves behind: every decision, order, fill and refusal, with the inputs it was made from.

Units: money in the run's quote currency, quantities in base units (long > 0), times in nanoseconds since 1970 UTC. `n`
bars, `d` decisions, `M` symbols, `S` signals. Figures are worked out from these records in `backtest.metrics`, never
stored beside them, so a saved run can't disagree with its own fills.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]

ORDERLOG = np.dtype([
    ("id", "i8"), ("symbol", "i8"), ("side", "i8"), ("kind", "i8"), ("purpose", "i8"), ("state", "i8"),
    ("decided_ns", "i8"), ("active_ns", "i8"), ("done_ns", "i8"), ("decision", "i8"),
    ("qty", "f8"), ("filled", "f8"), ("limit", "f8"), ("stop", "f8"), ("ref", "f8"), ("avg_price", "f8"),
    ("chases", "i8"),
])  # fmt: skip


@dataclass(frozen=True)
class InputShare:
    """One input of a run: what it was, where it came from, its hash, and how trustworthy its times are."""

    kind: str  # bars, posts, sentiment, metrics
    name: str  # symbol and interval, metric and coin, model
    source: str
    rows: int
    first_ns: int
    last_ns: int
    sha256: str
    quality: dict[str, int] = field(default_factory=dict)  # rows by recorded, vendor_pit, assumed_lag, revised


@dataclass(frozen=True)
class Discount:
    """Posts about a coin that didn't count, or not in full, from `since_ns` to `until_ns`.

    rule: 21, 22, or 0 for near-duplicates, whose `observed` is what they counted for in all and which have no limit.
    posts: how many, those of rule 22 counting in part; taken_back: how many had counted until a flood was found out.
    """

    coin: str
    rule: int
    why: str
    since_ns: int
    until_ns: int
    posts: int
    taken_back: int = 0
    limit: float = 0.0
    observed: float = 0.0


@dataclass(eq=False)
class Result:
    """One finished run. Arrays are at the closes of the decision bar (`n`) or at the decisions (`d`)."""

    created_ns: int
    strategy: str
    strategy_hash: str
    params: dict[str, float]
    symbols: tuple[str, ...]
    quote: str
    market: str  # spot | perp
    bar_ns: int
    synthetic: bool
    settings: dict[str, Any]  # the whole configuration; made plain (JSON types, inf and nan as text) on arrival
    close_ns: Array  # i8[n]
    open: Array  # f8[n, M], NaN where the bar is missing
    high: Array
    low: Array
    close: Array
    equity: Array  # f8[n]
    cash: Array  # f8[n]
    gross: Array  # f8[n] notional, long + short
    net: Array  # f8[n] notional, long - short
    held: Array  # f8[n, M] quantity at the close
    target: Array  # f8[d, M] weights, NaN = HOLD
    decide_ns: Array  # i8[d]
    level: Array  # i[n] the ladder's level at the close
    signal_names: tuple[str, ...]
    rows: Array | None  # f8[d, M, S] signal values at the decisions
    fills: Array  # risk.records.FILL
    orders: Array  # ORDERLOG
    events: Array  # risk.records.EVENT
    holds: dict[tuple[str, str, str], int]  # (symbol, state name, signal name) -> decisions held
    inputs: list[InputShare]
    doubts: list[str]  # what was assumed of them, and what nothing was known of
    notes: list[str]  # what else is to be said of them
    model: dict[str, Any] | None  # id, revision, cutoff, warning
    initial_cash: float
    stress: dict[str, float] = field(default_factory=dict)  # name -> total return under that stress
    trials: int = 1  # runs so far on these facts, this one included
    errors: int = 0
    error_samples: list[str] = field(default_factory=list)
    resume_after: str = "never"
    discounted: list[Discount] = field(default_factory=list)  # posts that didn't count, or not in full, and why
    elapsed: float = 0.0  # seconds
    id: str = ""

    def __post_init__(self) -> None:
        self.settings = plain(self.settings)
        self.symbols = tuple(self.symbols)
        self.signal_names = tuple(self.signal_names)
        self.params = {str(name): float(value) for name, value in self.params.items()}
        if not self.id:
            self.id = run_id(self.created_ns, self.strategy, self.content_hash())

    def content_hash(self) -> str:
        """Hash of what the run was and did; the same run made twice has the same."""
        digest = hashlib.blake2b(json.dumps(self._told(), sort_keys=True).encode(), digest_size=16)
        for array in (self.close_ns, self.equity, self.fills):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def settings_hash(self) -> str:
        """sha256 of the configuration as the run understood it."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()

    def facts_hash(self) -> str:
        """sha256 over the hashes of all inputs: two runs with the same one saw the same facts."""
        told = sorted((share.kind, share.name, share.source, share.sha256) for share in self.inputs)
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def trial_key(self) -> str:
        """Hash of what was tried (strategy, parameters, settings); running the same thing again is not a new trial."""
        return hashlib.sha256(json.dumps(self._told(), sort_keys=True).encode()).hexdigest()

    def _told(self) -> list[Any]:
        hashes = [share.sha256 for share in self.inputs]
        told = [self.strategy, self.strategy_hash, self.params, self.symbols, self.market, self.settings, hashes]
        return list(plain(told))

    def save(self, var: Path) -> Path:
        """Write the run to `var/runs/ID`, all or nothing, and return that folder."""
        from backtest.archive import save_run

        return save_run(self, var)

    @staticmethod
    def load(var: Path, run: str) -> Result:
        """Read the run `run` (its id, an unambiguous start of it, or `latest`); InputError when damaged or unknown."""
        from backtest.archive import load_run

        return load_run(var, run)

    def trades(self) -> pd.DataFrame:
        """Round trips, one row each, in order of entry (columns: `backtest.trades.TRADE`)."""
        from backtest.trades import trades_frame

        return trades_frame(self)

    def to_vectorbt(self, *, spare_cash: float = 0.0, without_funding: bool = False) -> Any:
        """These fills as a `vectorbt.Portfolio` (see `backtest.second_opinion`)."""
        from backtest.second_opinion import portfolio

        return portfolio(self, spare_cash=spare_cash, without_funding=without_funding)

    def export(self, folder: Path, form: str = "csv") -> list[Path]:
        """Write trades, orders, fills and events as `csv` or `parquet` files for other tools; return their paths."""
        from backtest.export import export_tables

        return export_tables(self, folder, form)


def run_id(created_ns: int, strategy: str, content_hash: str) -> str:
    """`yyyymmdd-hhmmss-strategy-xxxx`: sorts by time, reads as what it was, safe as a folder's name."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(created_ns // 1_000_000_000))
    slug = re.sub(r"[^a-z0-9]+", "-", strategy.lower()).strip("-")[:40].strip("-") or "strategy"
    return f"{stamp}-{slug}-{content_hash[:4]}"


def plain(value: Any) -> Any:
    """`value` in JSON's types: numpy scalars and arrays unwrapped, tuples as lists, inf and nan as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [plain(item) for item in items]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
