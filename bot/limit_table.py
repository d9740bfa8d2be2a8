"""The limits in effect as a person reads them: value, where it comes from, meaning, number of the control."""

import dataclasses
import hashlib
import json
import math
import re
from dataclasses import dataclass
from typing import Any

from bot.config import Config
from bot.config_resolve import RENAMED_LIMITS, resolve_limits
from bot.config_sections import Limits
from bot.config_types import plain, write_share
from data.errors import InputError, raise_all
from data.times import format_duration

MONEY = frozenset(
    {"order_notional", "position_notional", "gross_notional", "net_notional", "turnover_per_day", "fees_per_day"}
)
SHARES = frozenset(
    {"exit_reserve", "gross_leverage", "asset_share", "daily_loss", "daily_loss_flatten", "drawdown", "flood_share"}
)
NO_LIMIT = "no limit"


@dataclass(frozen=True)
class LimitRow:
    """One limit: `value` in its own unit (money in quote, times in nanoseconds), `text` as it is written."""

    name: str
    text: str
    value: float | dict[str, float] | None
    origin: str
    control: str
    meaning: str


def limit_rows(config: Config) -> list[LimitRow]:
    """Every limit of a backtest of this configuration, in the order of the file."""
    limits = resolve_limits(config)
    rows = []
    for name, field in Limits.model_fields.items():
        given = getattr(config.limits, name)
        value = getattr(limits, RENAMED_LIMITS.get(name, name))
        stated = bool(given) if isinstance(given, dict) else given is not None
        meaning, _, control = (field.description or "").partition(" (")
        number = re.sub(r"\D", "", control.split(")")[0])
        origin = config.place_of(f"limits.{name}") if stated else "default"
        finite = value if isinstance(value, dict) or math.isfinite(value) else None
        rows.append(LimitRow(name, limit_text(name, value, config.quote), finite, origin, number, meaning))
    return rows


def limit_text(name: str, value: Any, quote: str = "") -> str:
    """One limit of `risk.limits.Limits` in the words of the file."""
    if isinstance(value, dict):
        return ", ".join(f"{tag} {write_share(share)}" for tag, share in value.items()) or NO_LIMIT
    if math.isinf(value):
        return NO_LIMIT
    if name in MONEY:
        return f"{value:,.2f} {quote}".strip()
    if name in SHARES:
        return write_share(float(value))
    if RENAMED_LIMITS.get(name, "").endswith("_ns"):
        return format_duration(int(value)) if value else NO_LIMIT
    if name.endswith("_bps"):
        return f"{value * 1e4:g}"
    return f"{value:g}"


def missing_limits(config: Config) -> list[str]:
    """Limits that the configuration leaves to a default, by their keys; a run with real money has none."""
    return [
        f"limits.{name}" for name in Limits.model_fields if name != "tag_share" and getattr(config.limits, name) is None
    ]


def refuse_defaults(config: Config) -> None:
    """What a run with real money asks for: every limit stated, none left to a default.

    Raises
    ------
    InputError or InputErrors
        One for each limit that isn't stated.
    """
    faults = []
    for dotted in missing_limits(config):
        name = dotted.partition(".")[2]
        field = Limits.model_fields[name]
        example = (field.examples or [""])[0]
        told = f'"{example}"' if isinstance(example, str) else example
        remedy = f"State it, for example {name} = {told}: {(field.description or '').partition(' (')[0]}"
        faults.append(InputError("a limit is missing", where=config.where, key=dotted, remedy=remedy))
    raise_all(faults)


def limits_hash(config: Config) -> str:
    """SHA-256 over all that bounds a session (29): the limits in plain numbers, and what they are measured against.

    The allocation, market and leverage count, and of `[live]` what the session puts up with: each of them loosens.
    """
    bounds = {
        "limits": dataclasses.asdict(resolve_limits(config)),
        "allocation": f"{plain(config.run.cash)} {config.quote}",
        "market": config.run.market,
        "leverage": config.run.leverage,
        "tags": config.tags if config.limits.tag_share else {},
        "unknown_orders": config.live.unknown_orders,
        "foreign_share": config.live.foreign_share,
        "clock_offset": config.live.clock_offset,
        "canary": config.live.canary,
        "venue": [config.exchange.id, config.exchange.account, config.exchange.sandbox, config.exchange.demo],
        "urls": dict(config.exchange.urls),
        "symbols": list(config.run.symbols),
    }
    return hashlib.sha256(json.dumps(bounds, sort_keys=True).encode()).hexdigest()
