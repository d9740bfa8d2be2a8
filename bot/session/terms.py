"""Terms of a session: what its engine is made from, as the journal keeps it, so that a replay makes the same one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtest.facts import coins_of
from backtest.run import new_desk
from backtest.spec import RunSpec, bar_patience
from bot.engine import Engine
from bot.frozen import freeze, thaw
from data.errors import InputError
from risk.desk import Desk
from risk.limits import MarketSpec

if TYPE_CHECKING:
    from bot.config import Config

TERMS = ("limits", "policy", "markets", "tag_shares")


def spec_of(config: Config) -> RunSpec:
    """The run that a configuration describes, for a session: a decision waits for its bars, nobody resumes but people.

    Raises
    ------
    InputError or InputErrors
        As `bot.config_resolve.resolve_run`; or finer bars were asked for, which a session doesn't follow.
    """
    from bot.config_resolve import resolve_run, resolve_strategy

    spec = resolve_run(config, resolve_strategy(config))
    if config.run.inside is not None:
        what = "a session doesn't look inside a bar"
        remedy = "Remove it, or make it the bar"
        raise InputError(what, where=config.where, key="run.inside", value=str(config.run.inside), remedy=remedy)
    delay_ns = spec.decision_delay_ns + bar_patience(spec.bar_ns)
    return dataclasses.replace(
        spec, decision_delay_ns=delay_ns, resume_after_ns=-1, since_ns=None, until_ns=None, inside_ns=None
    )


def with_markets(spec: RunSpec, markets: Mapping[str, MarketSpec], prices: Mapping[str, float]) -> RunSpec:
    """The same with every market's grid known: the venue's, else what the file states, else assumed at a price."""
    settled = {}
    for symbol in spec.symbols:
        market = markets.get(symbol) or spec.market_of(symbol)
        price = prices.get(symbol, float("nan"))
        if market.tick != market.tick or market.lot != market.lot:
            if price != price:
                remedy = f'State tick and lot in [market."{symbol}"], or bring in bars: tidegate fetch bars'
                raise InputError("no price to assume a grid from", key=f"market.{symbol}", remedy=remedy)
            market = market.at_price(price)
        settled[symbol] = market
    return dataclasses.replace(spec, markets=settled)


def header_of(config: Config, spec: RunSpec, *, bot_id: str, mode: str, outside: bool, stops: bool) -> dict[str, Any]:
    """The journal's first record: all that a replay needs besides the strategy's own file."""
    return {
        "bot": bot_id,
        "mode": mode,
        "name": config.live.name,
        "config": config.plain(),
        "folder": str(config.folder.resolve()),
        "config_hash": config.hash(),
        "strategy": spec.strategy.identity(),
        "model": [spec.model, spec.model_revision],
        "symbols": list(spec.symbols),
        "coins": list(coins_of(spec)),
        "decision_delay_ns": spec.decision_delay_ns,
        "markets": freeze({symbol: dataclasses.asdict(spec.market_of(symbol)) for symbol in spec.symbols}),
        "outside": outside,
        "stops": stops,
    }


def spec_of_header(header: Mapping[str, Any]) -> RunSpec:
    """The run of a recorded session; its strategy is loaded from where it lay.

    Raises
    ------
    InputError
        The strategy isn't the one that traded.
    """
    from bot.config import check
    from bot.config_faults import Places

    config = check(header["config"], places=Places("the journal's header", []), folder=Path(header["folder"]))
    spec = spec_of(config)
    if spec.strategy.identity() != header["strategy"]:
        what = "the strategy isn't the one that this session ran: its file or its parameters have changed"
        raise InputError(what, where=config.strategy_text(), remedy="Bring back that version to replay the session")
    markets = {symbol: MarketSpec(**values) for symbol, values in thaw(header["markets"]).items()}
    return dataclasses.replace(spec, markets=markets, decision_delay_ns=int(header["decision_delay_ns"]))


def engine_of(spec: RunSpec, header: Mapping[str, Any]) -> Engine:
    """A fresh engine for a journal."""
    desk = new_desk(spec, outside=bool(header["outside"]), stops=bool(header["stops"]))
    return Engine(spec, desk, tuple(header["coins"]))


def terms_body(desk: Desk) -> dict[str, Any]:
    """The desk's limits and policy as a session's record holds them."""
    found: dict[str, Any] = freeze({name: desk.arrays[name] for name in TERMS})
    return found
