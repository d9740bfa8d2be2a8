"""Who may in at the Binance front: keys, signatures, time stamps, request weights and bans."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass


class VenueError(Exception):
    """An error with the venue's own code."""

    def __init__(self, code: int, text: str, status: int = 400, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status
        self.retry_after = retry_after


@dataclass
class Key:
    """One API key and what it may do."""

    secret: str
    account: str = "main"
    trade: bool = True
    withdraw: bool = False
    revoked: bool = False


@dataclass
class Doorman:
    """Checks before anything is done; counts weights and orders in the venue's own minutes."""

    keys: dict[str, Key]
    weight_limit: int = 6000
    orders_limit: int = 100  # in ten seconds
    patience: int = 10  # requests after a 429 in one minute, then the address is banned
    ban_s: int = 120
    banned_until_ms: int = 0
    weight: int = 0
    minute: int = -1
    ignored: int = 0
    orders: int = 0
    tens: int = -1
    orders_day: int = 0

    def admit(self, weight: int, now: int) -> None:
        """Count a request, or refuse it.

        Raises
        ------
        VenueError
            429 over the limit, 418 while banned; both say after how many seconds to come back.
        """
        if now < self.banned_until_ms:
            raise self._ban(now)
        if now // 60_000 != self.minute:
            self.minute, self.weight, self.ignored = now // 60_000, 0, 0
        self.weight += weight
        if self.weight <= self.weight_limit:
            return
        self.ignored += 1
        if self.ignored > self.patience:
            self.ban(self.ban_s, now)
            raise self._ban(now)
        wait = math.ceil((60_000 - now % 60_000) / 1000)
        text = f"Too much request weight used; current limit is {self.weight_limit} request weight per 1 MINUTE."
        raise VenueError(-1003, text, 429, wait)

    def ban(self, seconds: float, now: int) -> None:
        """Ban the address for a while."""
        self.banned_until_ms = now + int(seconds * 1000)

    def _ban(self, now: int) -> VenueError:
        text = f"Way too much request weight used; IP banned until {self.banned_until_ms}."
        return VenueError(-1003, text, 418, math.ceil((self.banned_until_ms - now) / 1000))

    def count_order(self, now: int) -> None:
        """Count a new order; too many in ten seconds are refused."""
        if now // 10_000 != self.tens:
            self.tens, self.orders = now // 10_000, 0
        self.orders += 1
        self.orders_day += 1
        if self.orders > self.orders_limit:
            wait = math.ceil((10_000 - now % 10_000) / 1000)
            raise VenueError(-1015, f"Too many new orders; current limit is {self.orders_limit}.", 429, wait)

    def headers(self, *, order: bool = False) -> dict[str, str]:
        """What is used up, as the venue tells it with each answer."""
        used = {"X-MBX-USED-WEIGHT": str(self.weight), "X-MBX-USED-WEIGHT-1M": str(self.weight)}
        if order:
            used |= {"X-MBX-ORDER-COUNT-10S": str(self.orders), "X-MBX-ORDER-COUNT-1D": str(self.orders_day)}
        return used

    def known(self, api_key: str | None, *, trade: bool = False) -> Key:
        """The key of a request, if it is a good one with the right that is needed."""
        if not api_key:
            raise VenueError(-2014, "API-key format invalid.", 401)
        key = self.keys.get(api_key)
        if key is None or key.revoked or (trade and not key.trade):
            raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return key

    def signed(self, raw: str, params: Mapping[str, str], key: Key, now: int) -> None:
        """Check time stamp and signature; `raw` is what was sent, in its order."""
        if "timestamp" not in params:
            raise VenueError(-1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.")
        stamp, window = whole(params["timestamp"], "timestamp"), whole(params.get("recvWindow", "5000"), "recvWindow")
        if window > 60_000:
            raise VenueError(-1131, "recvWindow must be less than 60000.")
        if stamp >= now + 1000:
            raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if now - stamp > window:
            raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")
        said = params.get("signature", "")
        text = re.sub(r"(^|&)signature=[^&]*", "", raw)
        right = hmac.new(key.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(said, right):
            raise VenueError(-1022, "Signature for this request is not valid.")


def whole(value: str, name: str) -> int:
    """A whole number of a request."""
    try:
        return int(value)
    except ValueError:
        raise VenueError(-1100, f"Illegal characters found in parameter '{name}'.") from None
