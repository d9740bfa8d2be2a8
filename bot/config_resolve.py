"""From a checked configuration to the plain records that the floors below take: limits, fills, execution, markets."""

import dataclasses
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from bot.config import Config, base_of
from bot.config_types import Cap, read_decimal
from bot.terminal import aside
from data.errors import InputError, InputErrors, raise_all
from data.times import MILLISECOND_NS

if TYPE_CHECKING:
    from backtest.costs import FillModel
    from backtest.spec import RunSpec
    from risk.limits import Limits, MarketSpec
    from risk.policy import Execution
    from signals.models import ModelCard
    from strategies.base import Strategy

T = TypeVar("T")
BPS = 1e-4
BAR_AGE_BARS = 2  # a bar counts as fresh until the one after the next has closed
# Names in the file and in the record, where the unit differs.
RENAMED_LIMITS = {
    "repeat_window": "repeat_window_ns",
    "loss_streak_pause": "loss_streak_pause_ns",
    "price_collar_bps": "price_collar",
    "bar_age": "bar_age_ns",
    "signal_age": "signal_age_ns",
    "novelty_pause": "novelty_pause_ns",
    "flood_pause": "flood_pause_ns",
}
FILL_FIELDS: Mapping[str, tuple[str, float | None]] = {
    "maker_bps": ("maker", BPS),
    "taker_bps": ("taker", BPS),
    "fee_asset": ("fee_asset", None),
    "spread_bps": ("spread", BPS),
    "impact_bps": ("impact", BPS),
    "participation": ("participation", None),
    "latency_ms": ("latency_ns", MILLISECOND_NS),
    "open_grace": ("grace_ns", None),
    "touch": ("touch", None),
    "liquidation_fee_bps": ("liquidation_fee", BPS),
}


def limit_value(name: str, value: Any, cash: float) -> Any:
    """One limit as a plain number: shares of the allocation in money, basis points as a fraction."""
    if isinstance(value, Cap):
        return value.of(cash)
    return value * BPS if name.endswith("_bps") else value


def resolve_limits(config: Config) -> "Limits":
    """The hard numbers: those given, and the backtest profile for the rest.

    Raises
    ------
    InputError
        When limits contradict each other, also a given one a default one.
    """
    from risk.limits import Limits

    cash = float(config.run.cash)
    given = {
        RENAMED_LIMITS.get(name, name): limit_value(name, getattr(config.limits, name), cash)
        for name in type(config.limits).model_fields
        if getattr(config.limits, name) is not None
    }
    given.setdefault("bar_age_ns", BAR_AGE_BARS * config.run.bar)
    return _named(config, lambda: Limits(**given))


def resolve_fills(config: Config) -> "FillModel":
    """The named profile with the single values that the file replaces."""
    from backtest.costs import fill_profile

    changes: dict[str, Any] = {}
    for name, (field, factor) in FILL_FIELDS.items():
        value = getattr(config.fill, name)
        if value is None:
            continue
        scaled = value if factor is None else value * factor
        changes[field] = round(scaled) if field.endswith("_ns") else scaled
    if config.fill.funding != "stored":
        rate = read_decimal(config.fill.funding[:-1]) or Decimal(0)
        changes["funding_rate"] = float(rate / 100)
    profile = fill_profile(config.fill.profile)
    return _named(config, lambda: dataclasses.replace(profile, **changes))


def resolve_execution(config: Config) -> "Execution":
    """How wishes become orders."""
    from risk.policy import Execution

    chosen = config.execution
    return _named(
        config,
        lambda: Execution(
            entry=chosen.entry,
            offset=chosen.offset_bps * BPS,
            wait_ns=chosen.wait,
            chases=chosen.chases,
            then=chosen.then,
            band=chosen.band,
            min_weight=chosen.min_weight,
        ),
    )


def resolve_markets(config: Config) -> "dict[str, MarketSpec]":
    """The venue's grid of every symbol; what the file doesn't state is assumed, and marked so."""
    from risk.limits import MarketSpec

    markets = {}
    for symbol in config.run.symbols:
        section = config.market.get(symbol)
        values = {} if section is None else {name: getattr(section, name) for name in type(section).model_fields}
        given = {name: float(value) for name, value in values.items() if value is not None}
        stated = {"tick", "lot", "min_notional"} <= given.keys()
        markets[symbol] = MarketSpec(**given, assumed=not stated)
    return markets


def resolve_tags(config: Config) -> dict[str, str]:
    """The tag of each symbol whose coin has one."""
    return {symbol: config.tags[base_of(symbol)] for symbol in config.run.symbols if base_of(symbol) in config.tags}


def resolve_strategy(config: Config) -> "Strategy":
    """The strategy with its parameters.

    Raises
    ------
    InputError or InputErrors
        When it can't be found or read, or a parameter is unknown or out of range.
    """
    from strategies.load import load_strategy

    with aside():
        return _named(config, lambda: load_strategy(config.strategy_text(), dict(config.params)), section="params")


def _named(config: Config, build: Callable[[], T], section: str = "") -> T:
    """What `build` makes; its errors name the place the value was given."""
    try:
        return build()
    except InputError as error:
        raise _placed(config, error, section) from error
    except InputErrors as errors:
        raise_all([_placed(config, error, section) for error in errors.errors])
        raise


def _placed(config: Config, error: InputError, section: str) -> InputError:
    key, where = error.key, error.where
    if section and key in config.params:
        key, where = f"{section}.{key}", config.place_of(f"{section}.{key}")
    elif where is None:
        where = config.place_of(key or "")
    return error.placed(where, key)


def resolve_model(config: Config) -> "ModelCard":
    """The pinned card of the model whose scores a run reads; a folder's path starts at the configuration's."""
    from signals.models import imported_card, parse_cutoff, registry, resolve

    run = config.run
    folder = config.path(run.model)
    name = str(folder) if folder.is_dir() else run.model
    imported, at, revision = name.rpartition("@")
    if at and "/" not in name and imported not in registry():
        cutoff = parse_cutoff(run.model_cutoff) if run.model_cutoff else None
        return imported_card(imported, revision, cutoff)
    return _named(config, lambda: resolve(name, run.model_labels, run.model_cutoff))


def resolve_run(config: Config, strategy: "Strategy") -> "RunSpec":
    """All of a run in plain records.

    Raises
    ------
    InputError or InputErrors
        A limit, a fill value or the model is wrong.
    """
    from backtest.spec import RunSpec

    run = config.run
    model = resolve_model(config)
    return RunSpec(
        strategy=strategy,
        symbols=run.symbols,
        bar_ns=run.bar,
        inside_ns=run.inside,
        since_ns=run.since,
        until_ns=run.until,
        cash=float(run.cash),
        market=run.market,
        leverage=run.leverage,
        size=run.size,
        stake=0.0 if run.stake is None else float(run.stake),
        fills=resolve_fills(config),
        execution=resolve_execution(config),
        limits=resolve_limits(config),
        markets=resolve_markets(config),
        tags=resolve_tags(config),
        decision_delay_ns=run.decision_delay,
        risk_bar_ns=run.risk_bar or run.bar,
        resume_after_ns=run.resume_after,
        decide_on=run.decide_on or strategy.decide_on,
        every_ns=run.every or strategy.every_ns,
        allow_revised=run.allow_revised,
        model=model.name,
        model_revision=model.pinned,
        model_card=model,
        bar_source=None if config.on_sample else run.source,
        source_weights=config.sources.weights,
    )
