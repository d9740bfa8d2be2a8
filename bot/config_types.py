"""The kinds of value a configuration holds, each read from what a person writes and refused with what to write instead.

Money is quoted text, so that no binary fraction slips in and a slip of a zero is seen. Every reader takes what TOML or
the command line gives, and raises `Fault`; `bot.config_faults` turns it into an error that names file, key and value.
"""

import datetime as dt
import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, PlainSerializer

from data.errors import InputError
from data.times import MINUTE_NS, SECOND_NS, format_duration, format_time, parse_duration, parse_time

NEVER_RESUME = -1
NEXT_DAY = -2


class Fault(ValueError):
    """One value is wrong: what, and the remedy."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class Cap(NamedTuple):
    """A limit in money, or as a share of the allocation."""

    amount: Decimal
    is_share: bool

    def of(self, allocation: float) -> float:
        """The limit in money for an allocation in money."""
        return float(self.amount) * allocation if self.is_share else float(self.amount)

    def __str__(self) -> str:
        return f"{plain(self.amount * 100)}%" if self.is_share else plain(self.amount)


def plain(number: Decimal) -> str:
    """Digits without an exponent and without trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def read_decimal(text: str) -> Decimal | None:
    """The number in a text such as `10000`, `10_000` or `99.5`; None when it isn't one, or isn't finite."""
    if not re.fullmatch(r"[+-]?\d[\d_]*(\.\d+)?", text.strip()):
        return None
    try:
        number = Decimal(text.strip().replace("_", ""))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def read_money(value: Any) -> Decimal:
    """Money above 0 from quoted text."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise Fault("money is quoted text, not a bare number", f'Put it in quotes: "{value}"')
    number = read_decimal(value) if isinstance(value, str) else None
    if number is None:
        raise Fault("not an amount of money", 'Write digits in quotes, for example "10000" or "99.50"')
    if number <= 0:
        raise Fault("money has to be above 0", 'Write an amount above 0, for example "10000"')
    return number


def read_share(value: Any) -> float:
    """A share from `"15%"` or `0.15`: above 0, at most 1."""
    share = _share(value)
    if share is None:
        raise Fault("not a share", 'Write a percentage in quotes ("15%") or a fraction (0.15)')
    if not 0 < share <= 1:
        raise Fault("a share lies above 0 and is at most 1", 'Write a percentage ("15%") or a fraction (0.15)')
    return share


def read_fraction(value: Any) -> float:
    """A share that may also be 0."""
    share = _share(value)
    if share is None:
        raise Fault("not a share", 'Write a percentage in quotes ("2%") or a fraction (0.02)')
    if not 0 <= share <= 1:
        raise Fault("a share lies between 0 and 1", 'Write a percentage ("2%") or a fraction (0.02)')
    return share


def read_ratio(value: Any) -> float:
    """A ratio to equity from `"50%"`, `0.5` or `3`: above 0, at most 125."""
    ratio = _share(value)
    if ratio is None:
        raise Fault("not a ratio to equity", 'Write a percentage in quotes ("50%") or a number (0.5)')
    if not 0 < ratio <= 125:
        raise Fault("a ratio to equity lies above 0 and is at most 125", 'Write a percentage ("50%") or a number (0.5)')
    return ratio


def _share(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    if not isinstance(value, str):
        return None
    text = value.strip()
    if text.endswith("%"):
        number = read_decimal(text[:-1])
        return None if number is None else float(number / 100)
    number = read_decimal(text)
    return None if number is None else float(number)


def read_cap(value: Any) -> Cap:
    """A limit: quoted money, or a percentage of the allocation."""
    if isinstance(value, Cap):
        return value
    if isinstance(value, str) and value.strip().endswith("%"):
        share = read_decimal(value.strip()[:-1])
        if share is None or share <= 0:
            raise Fault("not a percentage above 0", 'Write for example "150%" (of the allocation)')
        return Cap(share / 100, True)
    try:
        return Cap(read_money(value), False)
    except Fault as fault:
        remedy = f'{fault.remedy}, or a share of the allocation such as "150%"'
        raise Fault(fault.what, remedy) from None


def read_duration(value: Any) -> int:
    """Nanoseconds of a duration such as `6h`; 0 is one."""
    if isinstance(value, int) and not isinstance(value, bool) and value == 0:
        return 0
    if not isinstance(value, str):
        raise Fault("a duration is text with its unit", 'Write for example "90s", "6h" or "1d"')
    try:
        return parse_duration(value)
    except InputError as error:
        raise Fault(error.what, error.remedy or "") from None


def read_span(value: Any) -> int:
    """A duration above 0."""
    span = read_duration(value)
    if span == 0:
        raise Fault("has to be longer than 0", 'Write for example "90s", "6h" or "1d"')
    return span


def read_bar(value: Any) -> int:
    """Length of a bar: whole seconds that divide a minute, whole minutes that divide a day, or whole days."""
    span = read_span(value)
    seconds = span % SECOND_NS == 0 and MINUTE_NS % span == 0
    minutes = span % MINUTE_NS == 0 and 1440 * MINUTE_NS % span == 0
    if not (seconds or minutes or span % (1440 * MINUTE_NS) == 0):
        what = "bars are whole seconds that divide a minute, whole minutes that divide a day, or whole days"
        raise Fault(what, 'Write "1m", "5m", "1h", "4h" or "1d"; "1s" where the exchange has it')
    return span


def read_instant(value: Any) -> int:
    """Nanoseconds UTC of a date or time, as TOML's own date or as text."""
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise Fault("a time without a time zone", "Add Z for UTC, or an offset like +02:00")
        return parse_time(value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    if isinstance(value, dt.date):
        return parse_time(value.isoformat())
    if not isinstance(value, str):
        raise Fault("not a date or time", 'Write "2021-10-12" or "2021-10-12T20:00Z"')
    try:
        return parse_time(value)
    except InputError as error:
        raise Fault(error.what, error.remedy or "") from None


def read_resume(value: Any) -> int:
    """When a halted backtest goes on: `never` (-1), `next day` (-2), or a duration in nanoseconds."""
    if value == "never":
        return NEVER_RESUME
    if value == "next day":
        return NEXT_DAY
    try:
        return read_span(value)
    except Fault:
        raise Fault("not a policy", 'Write "never", "next day" or a duration such as "12h"') from None


def read_names(value: Any) -> Any:
    """A list of names; one text may hold several, parted by commas, as the command line gives them."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def write_resume(policy: int) -> str:
    """The text that `read_resume` reads."""
    return {NEVER_RESUME: "never", NEXT_DAY: "next day"}.get(policy) or format_duration(policy)


def write_share(share: float) -> str:
    """A share as a percentage, with all its digits."""
    return f"{plain(Decimal(repr(share)) * 100)}%"


_TEXT = {"return_type": str, "when_used": "always"}

Money = Annotated[Decimal, BeforeValidator(read_money), PlainSerializer(plain, **_TEXT)]
MoneyOrShare = Annotated[Cap, BeforeValidator(read_cap), PlainSerializer(str, **_TEXT)]
Share = Annotated[float, BeforeValidator(read_share), PlainSerializer(write_share, **_TEXT)]
Ratio = Annotated[float, BeforeValidator(read_ratio), PlainSerializer(write_share, **_TEXT)]
Fraction = Annotated[float, BeforeValidator(read_fraction), PlainSerializer(write_share, **_TEXT)]
Duration = Annotated[int, BeforeValidator(read_duration), PlainSerializer(format_duration, **_TEXT)]
Span = Annotated[int, BeforeValidator(read_span), PlainSerializer(format_duration, **_TEXT)]
BarLength = Annotated[int, BeforeValidator(read_bar), PlainSerializer(format_duration, **_TEXT)]
Instant = Annotated[int, BeforeValidator(read_instant), PlainSerializer(format_time, **_TEXT)]
Resume = Annotated[int, BeforeValidator(read_resume), PlainSerializer(write_resume, **_TEXT)]
Names = Annotated[tuple[str, ...], BeforeValidator(read_names)]
