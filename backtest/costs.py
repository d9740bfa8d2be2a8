"""What trading costs: fee, spread, impact, latency and funding models, in named fill profiles that a result records."""

import math
from dataclasses import dataclass, replace

import numpy as np

from data.errors import InputError
from risk.policy import Execution
from risk.records import BY_EQUITY, BY_NOTIONAL, BY_QUANTITY, POLICY, Array

SIZES = {"equity": BY_EQUITY, "notional": BY_NOTIONAL, "quantity": BY_QUANTITY}


@dataclass(frozen=True)
class FillModel:
    """Fees and frictions of a simulated venue.

    Fees, spread (half of it) and impact are fractions of notional; `impact` is multiplied by the square root of the
    order's share of the bar's volume; `participation` caps that share; times in nanoseconds; `funding_rate` NaN means
    that stored funding facts are used and a missing one is an error.
    """

    profile: str = "default"
    maker: float = 0.0010
    taker: float = 0.0010
    fee_asset: str = "received"
    spread: float = 0.0002
    impact: float = 0.01
    participation: float = 0.10
    latency_ns: int = 250_000_000
    grace_ns: int = 60_000_000_000
    touch: bool = False
    liquidation_fee: float = 0.0125
    funding_rate: float = float("nan")

    def __post_init__(self) -> None:
        """Refuse frictions that would pay the trader or can't be."""
        for name in ("taker", "spread", "impact", "latency_ns", "grace_ns", "liquidation_fee"):
            if not getattr(self, name) >= 0:
                raise InputError(
                    "a cost is out of range", key=f"fill.{name}", value=getattr(self, name), remedy="give 0 or more"
                )
        if not -0.001 <= self.maker < 0.1:
            raise InputError(
                "a cost is out of range", key="fill.maker", value=self.maker, remedy="give a fee from -10 to 1000 bps"
            )
        if not 0.0 < self.participation <= 1.0:
            raise InputError(
                "a cost is out of range",
                key="fill.participation",
                value=self.participation,
                remedy="give a share above 0, at most 1",
            )
        if self.fee_asset not in ("received", "quote"):
            raise InputError(
                "unknown fee asset", key="fill.fee_asset", value=self.fee_asset, remedy="'received' or 'quote'"
            )


PROFILES = {
    "default": FillModel(),
    "harsh": FillModel(
        profile="harsh", maker=0.0015, taker=0.0020, spread=0.0008, impact=0.03, participation=0.03, latency_ns=10**9
    ),
    "ideal": FillModel(
        profile="ideal",
        maker=0.0,
        taker=0.0,
        fee_asset="quote",
        spread=0.0,
        impact=0.0,
        participation=1.0,
        latency_ns=0,
        touch=True,
    ),
}


def fill_profile(name: str) -> FillModel:
    """The named profile; InputError lists the names when there is none such."""
    if name not in PROFILES:
        raise InputError("unknown fill profile", key="fill.profile", value=name, remedy=f"one of {', '.join(PROFILES)}")
    return PROFILES[name]


def doubled_fees(model: FillModel) -> FillModel:
    """The same venue at twice the fees, for the stress line."""
    return replace(model, maker=2.0 * max(model.maker, 0.0), taker=2.0 * model.taker)


def policy_record(
    *,
    fills: FillModel,
    execution: Execution,
    perp: bool,
    leverage: float,
    size: str,
    stake: float,
    short: bool,
    protection: tuple[float, float, float, int],
    stale_exit_ns: int,
    resume_ns: int,
    decision_delay_ns: int,
    outside: bool = False,
    stops: bool = True,
) -> Array:
    """The POLICY[1] record of a run. protection: (stop loss, take profit, trailing: fractions or NaN; time exit ns or
    0). outside: a venue reports what becomes of orders, instead of being simulated here; stops: it keeps them.
    """
    record = np.zeros(1, POLICY)
    stop, take, trailing, time_exit_ns = protection
    values: dict[str, float] = {
        "perp": perp,
        "leverage": leverage if perp else 1.0,
        "maker": fills.maker,
        "taker": fills.taker,
        "fee_in_asset": fills.fee_asset == "received" and not perp,
        "spread": fills.spread,
        "impact": fills.impact,
        "participation": fills.participation,
        "latency_ns": fills.latency_ns + decision_delay_ns,
        "grace_ns": fills.grace_ns,
        "touch": fills.touch,
        "liquidation_fee": fills.liquidation_fee,
        "resume_ns": resume_ns,
        "sizing": SIZES[size],
        "stake": stake,
        "short": short,
        "stop_loss": 0.0 if math.isnan(stop) else stop,
        "take_profit": 0.0 if math.isnan(take) else take,
        "trailing": 0.0 if math.isnan(trailing) else trailing,
        "time_exit_ns": time_exit_ns,
        "stale_exit_ns": stale_exit_ns,
        "band": execution.band,
        "min_weight": execution.min_weight,
        "post_only": execution.entry == "post-only",
        "offset": execution.offset,
        "wait_ns": execution.wait_ns,
        "chases": execution.chases,
        "then_market": execution.then == "market",
        "outside": outside,
        "stops": stops,
        "guarded": time_exit_ns > 0 or any(fraction > 0.0 for fraction in (stop, take, trailing)),
    }
    for name, number in values.items():
        record[name] = number
    return record
