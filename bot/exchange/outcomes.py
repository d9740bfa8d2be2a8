"""What became of an order that was sent: accepted, refused, never sent, or unknown.

The class of ccxt's error doesn't tell whether an order exists. So the answer itself is read: only a parsed code on the
venue's list (`bot.exchange.codes`) is a refusal; what never left is known from the connection; all else is unknown.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.exchange.codes import NOT_FOUND, REVOKED, Code, parse
from bot.exchange.redact import redact
from bot.exchange.wire import Failed, Message, NotFound, NotSent, Refused, Unknown

CORE = ("place", "cancel", "lookup", "orders", "orders-of", "trades", "balances")
# What ccxt raises before it asks: its own checks, and Decimal's on NaN and infinity.
LOCAL = ("InvalidOrder", "BadSymbol", "BadRequest", "ArgumentsRequired", "NotSupported", "InvalidOperation")


@dataclass
class Request:
    """One request on the wire: when its head left (ns UTC, 0: it didn't), and the answer if one came whole."""

    method: str
    path: str
    sent_ns: int = 0
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None


@dataclass
class Call:
    """What one call of ccxt did on the wire; its last request is the one that counts."""

    what: str
    paced: bool = True
    requests: list[Request] = field(default_factory=list)

    @property
    def last(self) -> Request | None:
        """The last request; None: none was begun."""
        return self.requests[-1] if self.requests else None

    def code(self, family: str) -> Code | None:
        """The venue's code in the last answer."""
        last = self.last
        return None if last is None or last.body is None else parse(family, last.status, last.body)


def of_place(family: str, call: Call, error: BaseException, until_ns: int = 0) -> Message:
    """What an error at `create_order` says.

    Parameters
    ----------
    family : str
        The venue's kind in `bot.exchange.codes`; "" knows no refusals.
    call : Call
        What was on the wire.
    error : BaseException
        What ccxt, or something under it, raised.
    until_ns : int
        Where the venue said "too many": until when it wants nothing.

    Returns
    -------
    Refused, NotSent or Unknown
        With why "clock" for a refused time stamp: it may be signed anew, once.
    """
    last, text = call.last, _text(error)
    if last is None:
        if type(error).__name__ in LOCAL:
            why = "market" if type(error).__name__ == "BadSymbol" else "filters"
            return Refused(why=why, code="local", text=text)
        return NotSent(text=text, until_ns=until_ns)
    if last.sent_ns == 0:
        return NotSent(text=text, until_ns=until_ns)
    code = call.code(family)
    if code is None or code.why is None:
        said = "" if code is None else f" ({code.code})"
        return Unknown(text=text + said, sent_ns=last.sent_ns)
    if code.why == "limited":
        return NotSent(text=redact(f"{code.code} {code.text}"), until_ns=until_ns)
    return Refused(why=code.why, code=code.code, text=redact(code.text))


def of_nothing(call: Call, result: Any, client_id: str) -> Unknown | None:
    """Unknown when what `create_order` returned is no acceptance: no id, another's client id, no whole answer."""
    last = call.last
    sent_ns = time.time_ns() if last is None else last.sent_ns
    if last is None or last.status != 200 or not isinstance(result, dict) or not result.get("id"):
        return Unknown(text="the answer names no order", sent_ns=sent_ns)
    if result.get("clientOrderId") not in (None, "", client_id):
        return Unknown(text="the answer names another client id", sent_ns=sent_ns)
    return None


def of_cancel(family: str, call: Call, error: BaseException, until_ns: int = 0) -> Message:
    """What an error at a cancel says: as `of_place`, and NotFound."""
    code = call.code(family)
    if code is not None and code.code in NOT_FOUND.get(family, ()):
        return NotFound()
    if code is None and call.last is None and type(error).__name__ == "OrderNotFound":
        return NotFound()
    return of_place(family, call, error, until_ns)


def of_question(family: str, call: Call, error: BaseException, until_ns: int = 0) -> Message:
    """What an error at a question says: Failed, or NotFound of an order."""
    code = call.code(family)
    if code is not None and code.code in NOT_FOUND.get(family, ()):
        return NotFound()
    if code is None and type(error).__name__ == "OrderNotFound":
        return NotFound()
    return Failed(text=_text(error), revoked=is_revoked(family, call), until_ns=until_ns)


def is_revoked(family: str, call: Call) -> bool:
    """Whether the venue refuses the key for what it must be able to do; it has the same words for lesser rights."""
    code = call.code(family)
    return call.what in CORE and code is not None and code.code in REVOKED.get(family, ())


def _text(error: BaseException) -> str:
    lines = redact(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"


def is_whole(family: str, call: Call, shape: type[list[Any]] | type[dict[str, Any]]) -> bool:
    """Whether every answer of a question has the venue's own shape; ccxt reads an empty or odd one as "nothing"."""
    for request in call.requests:
        try:
            body = json.loads(request.body or "")
        except ValueError:
            return False
        if family == "bybit":
            fine = isinstance(body, dict) and body.get("retCode") == 0 and isinstance(body.get("result"), dict)
        elif family == "okx":
            fine = isinstance(body, dict) and body.get("code") == "0" and isinstance(body.get("data"), list)
        elif family == "kraken":
            fine = isinstance(body, dict) and body.get("error") == [] and "result" in body
        elif family == "binance":
            fine = isinstance(body, shape) and (shape is list or bool(body))
        else:
            fine = bool(body) or isinstance(body, list)
        if request.status != 200 or not fine:
            return False
    return bool(call.requests)
