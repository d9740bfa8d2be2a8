"""Numbers as people read them: money, shares, spans of time, and what a rule's limit means in its own unit."""

from __future__ import annotations

import math
import time

from risk import records as rec

NONE = "–"
_SHARES = {rec.R_ASSET_SHARE, rec.R_TAG_SHARE, rec.R_COLLAR, rec.R_DAY_LOSS, rec.R_DAY_LOSS_FLATTEN, rec.R_DRAWDOWN}
_SPANS = {rec.R_BAR_AGE, rec.R_NOVELTY, rec.R_SIGNAL, rec.R_FLOOD}
_COUNTS = {rec.R_RATE, rec.R_REPEAT, rec.R_STREAK}
_MONEY = {rec.R_POSITION, rec.R_GROSS, rec.R_NET, rec.R_SIZE, rec.R_FUNDS, rec.R_TURNOVER, rec.R_FEES}


def percent(value: float | None, digits: int = 1, sign: bool = False) -> str:
    """0.1234 as `12.3%`; very large ones without false digits."""
    if value is None or not math.isfinite(value):
        return NONE
    shown = value * 100.0
    if abs(shown) >= 1000.0:
        digits = 0
    text = f"{shown:+,.{digits}f}" if sign else f"{shown:,.{digits}f}"
    if float(text.replace(",", "")) == 0.0:
        text = text.lstrip("+-")
    return f"{text}%".replace("-", "\u2212")


def chance(probability: float | None) -> str:
    """A probability that is never rounded up, to a certainty or to a passed threshold: `94.6%`, `over 99%`."""
    if probability is None or not math.isfinite(probability):
        return NONE
    if probability < 0.01:
        return "under 1%"
    if probability > 0.99:
        return "over 99%"
    digits = 1 if probability > 0.9 else 0
    shown = math.floor(probability * 100.0 * 10**digits) / 10**digits
    return f"{shown:.{digits}f}%"


def sentence(note: str) -> str:
    """`it begins small` as `It begins small.`"""
    return f"{note[0].upper()}{note[1:]}."


def ratio(value: float | None, digits: int = 2) -> str:
    """A plain ratio, or a dash when it is not defined."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:,.{digits}f}"
    return (text.lstrip("-") if float(text.replace(",", "")) == 0.0 else text).replace("-", "\u2212")


def money(value: float | None, unit: str = "") -> str:
    """An amount of quote with two digits below a thousand and none above a hundred thousand."""
    if value is None or not math.isfinite(value):
        return NONE
    digits = 2 if abs(value) < 100_000.0 else 0
    return (ratio(value, digits) + (f" {unit}" if unit else "")).strip()


def price(value: float | None) -> str:
    """A price or quantity with about seven significant digits, never in exponents a trader has to decode."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0.0:
        return "0"
    digits = max(0, min(12, 6 - math.floor(math.log10(abs(value)))))
    text = f"{value:,.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "\u2212")


def span(ns: float | None) -> str:
    """A duration by its largest two units: `12 d 4 h`, `3 h 5 min`, `40 s`."""
    if ns is None or not math.isfinite(ns):
        return NONE
    seconds = ns / 1e9
    if abs(seconds) < 1.0:
        return f"{seconds * 1000:.0f} ms" if seconds else "0"
    whole = round(abs(seconds))
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    for place, (name, size) in enumerate(units):
        if whole >= size:
            text = f"{whole // size} {name}"
            rest = whole % size
            if place + 1 < len(units) and whole // size < 100:
                finer, step = units[place + 1]
                text += f" {rest // step} {finer}" if rest // step else ""
            return text if seconds > 0 else "\u2212" + text
    return "0"


def days(ns: float | None) -> str:
    """A duration in days, for lengths of drawdowns: `41 d`, `0.4 d`."""
    if ns is None:
        return NONE
    count = ns / 86_400e9
    return f"{count:.0f} d" if count >= 10.0 else f"{count:.1f} d"


def day(ns: int) -> str:
    """The UTC date of a time."""
    return time.strftime("%Y-%m-%d", time.gmtime(ns // 1_000_000_000))


def minute(ns: int) -> str:
    """The UTC date and minute of a time."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(ns // 1_000_000_000))


def interval(ns: int) -> str:
    """A bar's length as one types it: `1m`, `4h`, `1d`."""
    for name, size in (("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if ns % (size * 10**9) == 0:
            return f"{ns // (size * 10**9)}{name}"
    return f"{ns}ns"


def rule_name(rule: int) -> str:
    """A rule by number and name, as controls are cited."""
    return rec.RULES.get(rule, f"rule {rule}")


def discount(rule: int, why: str, observed: float, limit: float) -> str:
    """Why posts were discounted, with what was seen and what is allowed."""
    if rule == rec.R_FLOOD:
        return f"{why}: {percent(observed, 0)}, limit {percent(limit, 0)}"
    if rule == rec.R_TWO_SOURCES:
        return f"{why}: mood moved by {ratio(observed)}, limit {ratio(limit)}"
    return f"{why}, {ratio(observed, 0)} in all"


def rule_value(rule: int, value: float) -> str:
    """A rule's limit or observed value in the rule's own unit."""
    if rule == rec.R_LADDER and math.isfinite(value) and 0 <= int(value) < len(rec.LEVELS):
        return rec.LEVELS[int(value)]
    if rule in _SHARES:
        return percent(value, 2)
    if rule in _SPANS:
        return span(value)
    if rule in _COUNTS:
        return ratio(value, 0)
    if rule == rec.R_LEVERAGE:
        return ratio(value) + "×"
    if rule in _MONEY:
        return money(value)
    return price(value)
