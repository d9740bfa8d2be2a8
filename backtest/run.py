"""One run: inputs to signal values, through the compiled loop, to a result. A pure function of the spec and the facts.

Three forms of a strategy share every kernel: behind a pointer (default), inlined into the loop (sweeps), and called
from Python for what numba can't compile. They decide alike, to the bit.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backtest.compile import compile_pointer
from backtest.costs import doubled_fees, policy_record
from backtest.crowd import discounted
from backtest.events import fed_tape, known_values, tape_of, unusual
from backtest.hook import drive, python_rule
from backtest.load import RunInputs, later_scores
from backtest.loop import LOGS_FULL, loop
from backtest.result import ORDERLOG, Result
from backtest.spec import RunSpec, quote_of
from backtest.tape import Tape
from risk.desk import Desk, make_desk
from risk.records import STATES, Array
from signals import ops
from signals.models import cutoff_warning, resolve

LATE_FACTOR = 10
CHUNK = 50_000  # bar rows between two reports of progress
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Prepared:
    """A run's tape and what was needed to make it."""

    tape: Tape
    rule: Any  # what decides: a Compiled, or a Python function
    compiled: bool


def prepare_run(
    spec: RunSpec, inputs: RunInputs, *, interpreted: bool = False, late: bool = False, keep: bool = True
) -> Prepared:
    """Signal values of every decision and the tape of events; the strategy's own code compiled.

    late: rows are known when they have closed, as in paper trading (see `backtest.tape.TAPE`). keep: False when only
    orders, fills and the account are asked for: the values of signals and the weights may then be made while the run
    goes on, and are not kept.
    """
    strategy = spec.strategy
    rule = None if interpreted else compile_pointer(strategy)
    blind = rule is not None and rule.blind
    if rule is not None and not keep:
        tape = fed_tape(spec, inputs, blind=blind)
        if tape is not None:
            return Prepared(tape=tape, rule=compile_pointer(strategy, narrow=blind), compiled=True)
    rows, states = known_values(spec, inputs, strategy.signals)
    strange = unusual(spec, inputs)
    tape = tape_of(spec, inputs, rows, states, strange, strategy.param_record(), late=late, blind=blind)
    return Prepared(tape=tape, rule=rule or python_rule(strategy), compiled=rule is not None)


def settled(spec: RunSpec, inputs: RunInputs) -> RunSpec:
    """The spec with every market's grid known: what wasn't stated is assumed from the symbol's first close."""
    markets = {}
    for k, symbol in enumerate(spec.symbols):
        close = inputs.signals.close[:, k]
        markets[symbol] = spec.market_of(symbol).at_price(float(close[np.argmax(np.isfinite(close))]))
    return replace(spec, markets=markets)


def new_desk(spec: RunSpec, log: int = 4096, *, outside: bool = False, stops: bool = True) -> Desk:
    """The desk a run begins with. outside: a venue reports what becomes of orders; stops: it keeps them."""
    markets = {symbol: spec.market_of(symbol) for symbol in spec.symbols}
    return make_desk(
        symbols=spec.symbols,
        cash=spec.cash,
        limits=spec.limits,
        markets=markets,
        tags=spec.tags,
        policy=run_policy(spec, outside=outside, stops=stops),
        log=log,
    )


def run_policy(spec: RunSpec, *, outside: bool = False, stops: bool = True) -> Array:
    """The POLICY[1] record of a run; see `new_desk`."""
    return policy_record(
        fills=spec.fills,
        execution=spec.execution,
        perp=spec.perp,
        leverage=spec.leverage,
        size=spec.size,
        stake=spec.stake,
        short=spec.strategy.short,
        protection=spec.strategy.protection,
        stale_exit_ns=spec.strategy.stale_exit_ns,
        resume_ns=spec.resume_after_ns,
        decision_delay_ns=spec.decision_delay_ns,
        outside=outside,
        stops=stops,
    )


def execute(desk: Desk, prepared: Prepared, progress: Progress | None = None) -> list[str]:
    """Drive the tape through the desk; samples of what the strategy raised (interpreted form only)."""
    tape = prepared.tape
    total = len(tape["close_ns"])
    if not prepared.compiled:
        tape.start(0)
        return drive(desk, tape, prepared.rule, progress)
    tape.start(prepared.rule.address)
    stop = 0
    while stop < total:
        stop = min(stop + CHUNK, total)
        while loop(desk.ref, tape.ref, stop) == LOGS_FULL:
            desk.grow_logs()
        if progress is not None:
            progress(stop, total)
    return []


def run(
    spec: RunSpec,
    inputs: RunInputs,
    *,
    created_ns: int,
    settings: dict[str, Any] | None = None,
    stress: bool = True,
    interpreted: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Run a strategy over its inputs.

    settings: the configuration as it shall stand in the result. stress: also run with doubled fees and one bar later.
    """
    spec = settled(spec, inputs)
    prepared = prepare_run(spec, inputs, interpreted=interpreted)
    desk = new_desk(spec)
    stresses = _stresses(spec, inputs, prepared) if stress else {}
    samples = execute(desk, prepared, _part(progress, 0, 1 + len(stresses)))
    result = _result(spec, inputs, prepared.tape, desk, created_ns, settings)
    result.errors = int(desk.account["errors"])
    if result.errors and not samples:
        samples = _samples(spec, prepared.tape, desk)
    result.error_samples = samples
    # Runs over the tape again: the result has its own copies of what the first run wrote there.
    for place, (name, (twin, made)) in enumerate(stresses.items(), start=1):
        again = made()
        execute(new_desk(twin), again, _part(progress, place, 1 + len(stresses)))
        result.stress[name] = float(again.tape["equity"][-1] / spec.cash - 1.0)
    return result


def _part(progress: Progress | None, place: int, count: int) -> Progress | None:
    """Progress of one of `count` runs over the same rows, one after another, told as one."""
    if progress is None:
        return None
    return lambda done, total: progress(place * total + done, count * total)


def _samples(spec: RunSpec, tape: Tape, desk: Desk) -> list[str]:
    """What the strategy raised at its first failures, found by asking it again in Python."""
    from risk.records import EV_ERROR

    rule = python_rule(spec.strategy)
    times = desk.events["ns"][desk.events["kind"] == EV_ERROR][:3]
    told = []
    for ns in times.tolist():
        j = int(np.searchsorted(tape["decide_ns"], ns))
        told.append(rule.explain(tape["rows"][j], tape["states"][j], tape["params"], ns))
    return told


def _stresses(
    spec: RunSpec, inputs: RunInputs, prepared: Prepared
) -> dict[str, tuple[RunSpec, Callable[[], Prepared]]]:
    """Runs whose final return a result tells beside its own: doubled fees, every order one bar later, scores ten times
    as late.
    """
    found: dict[str, tuple[RunSpec, Callable[[], Prepared]]] = {
        "fees doubled": (replace(spec, fills=doubled_fees(spec.fills)), lambda: prepared),
        "one bar later": (replace(spec, decision_delay_ns=spec.decision_delay_ns + spec.bar_ns), lambda: prepared),
    }
    if len(inputs.signals.sentiment):
        found["scores ten times as late"] = (
            spec,
            lambda: prepare_run(spec, later_scores(inputs, LATE_FACTOR), interpreted=not prepared.compiled),
        )
    return found


def _holds(spec: RunSpec, states: Array) -> dict[tuple[str, str, str], int]:
    """Decisions held by symbol, reason and signal."""
    names = list(spec.strategy.signals)
    counts: dict[tuple[str, str, str], int] = {}
    for k, symbol in enumerate(spec.symbols):
        codes, numbers = np.unique(states[:, k], return_counts=True)
        for code, number in zip(codes.tolist(), numbers.tolist(), strict=True):
            if code:
                state, signal = code & 7, code >> 3
                blamed = "" if state == ops.NO_BAR else names[signal]
                key = (symbol, STATES[state], blamed)
                counts[key] = counts.get(key, 0) + number
    return counts


def _orderlog(desk: Desk) -> Array:
    """Ended orders and those that still work, in order of id."""
    both = np.concatenate([desk.done, desk.working])
    both = both[np.argsort(both["id"], kind="stable")]
    log = np.zeros(len(both), ORDERLOG)
    for name in ORDERLOG.names or ():
        log[name] = both[name]
    return log


def model_of(spec: RunSpec, since_ns: int) -> dict[str, Any] | None:
    """What is to be said of the model whose scores the signals read; None when they read none."""
    if not any(fact[0] == "sentiment" for signal in spec.strategy.signals.values() for fact in signal.facts()):
        return None
    card = spec.model_card or resolve(spec.model)
    return {
        "id": spec.model,
        "revision": spec.model_revision,
        "cutoff": None if card.cutoff is None else card.cutoff.isoformat(),
        "warning": cutoff_warning(card, since_ns),
        "kind": card.kind,
        "notes": card.notes,
    }


def _result(
    spec: RunSpec, inputs: RunInputs, tape: Tape, desk: Desk, created_ns: int, settings: dict[str, Any] | None
) -> Result:
    seen = inputs.signals
    first_bar = int(np.searchsorted(seen.close_ns, inputs.bars.close_ns[np.argmax(inputs.bars.decides)]))
    accounts = tape.accounts(desk.fills, spec.cash)
    shown = dict(settings or {})
    shown["effective"] = _effective(spec)
    return Result(
        created_ns=created_ns,
        strategy=type(spec.strategy).__name__,
        strategy_hash=spec.strategy.identity(),
        params=dict(spec.strategy.params),
        symbols=tuple(spec.symbols),
        quote=quote_of(spec.symbols[0]),
        market=spec.market,
        bar_ns=spec.bar_ns,
        synthetic=inputs.synthetic,
        settings=shown,
        close_ns=seen.close_ns[first_bar:],
        open=seen.open[first_bar:],
        high=seen.high[first_bar:],
        low=seen.low[first_bar:],
        close=seen.close[first_bar:],
        equity=accounts["equity"],
        cash=accounts["cash"],
        gross=accounts["gross"],
        net=accounts["net"],
        level=accounts["level"],
        held=accounts["held"],
        target=tape.wishes(),
        decide_ns=tape["decide_ns"],
        signal_names=tuple(spec.strategy.signals),
        rows=tape["rows"][:, :, :-1],
        fills=desk.fills.copy(),
        orders=_orderlog(desk),
        events=desk.events.copy(),
        holds=_holds(spec, tape["states"]),
        inputs=inputs.shares,
        doubts=list(inputs.doubts),
        notes=[*inputs.notes, *_assumed_grids(spec)],
        model=model_of(spec, int(seen.close_ns[first_bar])),
        initial_cash=spec.cash,
        resume_after=_resume_text(spec.resume_after_ns),
        discounted=discounted(spec, inputs),
    )


def _assumed_grids(spec: RunSpec) -> list[str]:
    """Whose grid of prices and quantities isn't the exchange's, in a sentence."""
    assumed = [symbol for symbol in spec.symbols if spec.market_of(symbol).assumed]
    if not assumed:
        return []
    return [f"tick, lot or least order is assumed, not stated under [market], for {', '.join(assumed)}"]


def _resume_text(resume_ns: int) -> str:
    from data.times import format_duration

    return {-1: "never", -2: "next day"}.get(resume_ns) or format_duration(resume_ns)


def _effective(spec: RunSpec) -> dict[str, Any]:
    """Every number the run obeyed, defaults included."""
    return {
        "limits": dataclasses.asdict(spec.limits),
        "fills": dataclasses.asdict(spec.fills),
        "execution": dataclasses.asdict(spec.execution),
        "leverage": spec.leverage,
        "size": spec.size,
        "stake": spec.stake,
        "markets": {symbol: dataclasses.asdict(spec.market_of(symbol)) for symbol in spec.symbols},
        "tags": dict(spec.tags),
        "decision_delay_ns": spec.decision_delay_ns,
        "risk_bar_ns": spec.risk_bar_ns or spec.bar_ns,
        "decide_on": spec.decide_on,
        "every_ns": spec.every_ns,
        "allow_revised": list(spec.allow_revised),
        "source_weights": dict(spec.source_weights),
        "strategy": {"protection": spec.strategy.protection, "short": spec.strategy.short},
    }


__all__ = ["Prepared", "Result", "RunSpec", "execute", "new_desk", "prepare_run", "run"]
