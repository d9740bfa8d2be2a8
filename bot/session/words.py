"""What a step says to people: fills, refusals, ladder moves, notes, as a kind of notice, a log level and a sentence."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from bot.engine import Engine
from bot.step import Decision, Step
from data.times import format_time
from risk import records as rec


def words_of(step: Step, engine: Engine) -> Iterator[tuple[str, int, str]]:
    """(kind of notice, log level, sentence) of all that a person may want to know of a step."""
    symbols = engine.symbols
    for fill in step.fills:
        side = "bought" if fill["qty"] > 0 else "sold"
        what = f"{side} {abs(fill['qty']):g} {symbols[fill['symbol']]} at {fill['price']:g}"
        tail = f", realised {fill['realised']:+.2f}" if fill["purpose"] != rec.ENTRY else ""
        yield "fill", logging.INFO, f"{what} ({rec.PURPOSES[fill['purpose']]}), fee {fill['fee']:.4g}{tail}"
    for event in step.events:
        kind = int(event["kind"])
        name = rec.RULES.get(int(event["rule"]), "")
        where = symbols[event["symbol"]] if event["symbol"] >= 0 else ""
        if kind == rec.EV_REFUSED:
            told = (
                f"refused by {name}: {where} {event['qty']:g}, limit {event['limit']:g}, observed {event['observed']:g}"
            )
            yield "refusal", logging.WARNING, told
        elif kind == rec.EV_LADDER:
            move = f"ladder {rec.LEVELS[event['was']]} → {rec.LEVELS[event['level']]}"
            why = f" by {name}, limit {event['limit']:g}, observed {event['observed']:g}" if name else ""
            yield "ladder", logging.WARNING, move + why
        elif kind in (rec.EV_UNKNOWN, rec.EV_LOST, rec.EV_OUTSIDE, rec.EV_LIQUIDATED, rec.EV_REJECTED):
            yield "alarm", logging.WARNING, f"{rec.EVENTS[kind]}: {where} {event['qty']:g} (order {event['order']})"
        elif kind == rec.EV_ERROR:
            yield "error", logging.ERROR, f"the strategy failed; decision skipped ({event['observed']:g} in a row)"
    for text in step.notes:
        yield "alarm", logging.WARNING, text
    for one in step.decisions:
        yield "decision", logging.INFO, _decided(one, symbols)


def _decided(one: Decision, symbols: tuple[str, ...]) -> str:
    """What a decision asked for: weights that aren't 0, and symbols it wasn't asked about."""
    asked = [f"{s} {w:+.1%}" for s, w in zip(symbols, one.weights, strict=True) if w == w and w != 0.0]
    held = [symbol for symbol, state in zip(symbols, one.states, strict=True) if state]
    told = f"{format_time(one.ns)} {', '.join(asked) or 'flat'}"
    if not one.asked:
        told = f"{format_time(one.ns)} the ladder holds: nobody was asked"
    elif len(held) == len(symbols):
        told = f"{format_time(one.ns)} nothing is known of any symbol: all held as they are"
    elif held:
        told += f"; not known, held: {', '.join(held)}"
    return told
