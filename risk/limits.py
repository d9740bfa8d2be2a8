"""The hard numbers: a limit for each control, validated, with a default profile for backtests and none for live."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from data.errors import InputError

HOUR_NS = 3600 * 10**9
COUNTED = {"orders_per_minute": 1_000_000, "orders_per_hour": 1_000_000, "repeat_orders": 100_000}  # in a window


@dataclass(frozen=True)
class Limits:
    """Limits of one wallet. Money in quote, shares as fractions of equity, times in nanoseconds.

    The defaults are the backtest profile for an allocation of 1 (see `for_allocation`); `inf` means no limit and is
    said so.
    """

    order_notional: float = np.inf
    orders_per_minute: int = 60
    orders_per_hour: int = 600
    exit_reserve: float = 0.25
    rate_breaches: int = 3
    repeat_orders: int = 20
    repeat_window_ns: int = HOUR_NS
    position_notional: float = np.inf
    gross_notional: float = np.inf
    net_notional: float = np.inf
    gross_leverage: float = 1.0
    asset_share: float = 1.0
    tag_share: dict[str, float] = field(default_factory=dict)
    daily_loss: float = 0.10
    daily_loss_flatten: float = 0.15
    drawdown: float = 0.35
    loss_streak: int = 10
    loss_streak_pause_ns: int = 24 * HOUR_NS
    price_collar: float = 0.01
    bar_age_ns: int = 2 * HOUR_NS
    signal_age_ns: int = 0
    novelty_return_z: float = 12.0
    novelty_volume_z: float = 40.0
    novelty_pause_ns: int = HOUR_NS
    flood_posts: int = 15
    flood_z: float = 6.0
    flood_share: float = 0.5
    flood_pause_ns: int = 6 * HOUR_NS
    mood_jump: float = 0.5
    turnover_per_day: float = np.inf
    fees_per_day: float = np.inf
    strategy_errors: int = 3

    def __post_init__(self) -> None:
        """Refuse limits that can't hold: negative, not a number, second level under the first."""
        for entry in fields(self):
            number = getattr(self, entry.name)
            if isinstance(number, dict):
                bad = [f"{tag}={share}" for tag, share in number.items() if not share >= 0.0]
            else:
                bad = [str(number)] if not number >= 0 else []
            if bad:
                raise limit_error(entry.name, ", ".join(bad), "give a number of 0 or more")
        if self.daily_loss_flatten < self.daily_loss:
            raise limit_error("daily_loss_flatten", str(self.daily_loss_flatten), "it can't be under daily_loss")
        if not 0.0 < self.price_collar < 1.0:
            raise limit_error("price_collar_bps", str(self.price_collar * 1e4), "give more than 0 and under 10000")
        if not self.flood_share > 0.0:
            raise limit_error("flood_share", str(self.flood_share), "give more than 0: at 0 every post is a flood")
        if not 0.0 <= self.exit_reserve < 1.0:
            raise limit_error("exit_reserve", str(self.exit_reserve), "give a share from 0 to under 1")
        for name in (
            "orders_per_minute",
            "orders_per_hour",
            "repeat_orders",
            "loss_streak",
            "strategy_errors",
            "rate_breaches",
            "flood_posts",
        ):
            if getattr(self, name) < 1:
                raise limit_error(name, str(getattr(self, name)), "give 1 or more")
        for name, most in COUNTED.items():
            if getattr(self, name) > most:
                raise limit_error(name, str(getattr(self, name)), f"give {most} or less: the time of each is kept")

    def record(self) -> tuple[Any, ...]:
        """Values in the order of the LIMITS record."""
        from risk.records import LIMITS

        return tuple(getattr(self, name) for name in LIMITS.names or ())


def limit_error(name: str, shown: str, remedy: str) -> InputError:
    """An InputError that names a limit."""
    return InputError("a limit is out of range", key=f"limits.{name}", value=shown, remedy=remedy)


@dataclass(frozen=True)
class MarketSpec:
    """Filters of one market: price tick, quantity lot, least notional (quote), largest order, maintenance
    margin rate.
    """

    tick: float = np.nan
    lot: float = np.nan
    min_notional: float = 5.0
    max_quantity: float = np.inf
    maintenance: float = 0.005
    assumed: bool = True

    def at_price(self, price: float) -> "MarketSpec":
        """The same market with what wasn't stated assumed from a price: five digits of price, lots of about 0.1
        quote.
        """
        tick = self.tick if np.isfinite(self.tick) else float(f"1e{int(np.floor(np.log10(price))) - 4}")
        lot = self.lot if np.isfinite(self.lot) else float(f"1e{int(np.floor(np.log10(0.1 / price)))}")
        return replace(self, tick=tick, lot=lot)

    def record(self, tag: int) -> tuple[float, float, float, float, float, int]:
        """Values in the order of the MARKETS record."""
        if not (self.tick > 0.0 and self.lot > 0.0):
            raise limit_error("market", f"tick {self.tick}, lot {self.lot}", "state both, or settle them at a price")
        return self.tick, self.lot, self.min_notional, self.max_quantity, self.maintenance, tag
