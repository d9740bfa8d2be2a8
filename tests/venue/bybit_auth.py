"""Keys, signatures and the receive window of the linear venue, refused with the codes that Bybit v5 uses."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PAST_MS = 60_000  # receive windows longer than this are cut to it
AHEAD_MS = 1_000  # a request may be stamped this much after the venue's clock, no more


class Denied(Exception):
    """What the venue answers instead of doing it: a code in an answer that is otherwise HTTP 200."""

    def __init__(self, code: int, text: str, status: int = 200, detail: dict[str, Any] | None = None) -> None:
        super().__init__(f"{code} {text}")
        self.code, self.text, self.status, self.detail = code, text, status, detail or {}


@dataclass
class Key:
    """One API key and what it may do. A revoked one is unknown to the venue from then on."""

    api: str = "local-perp-key"
    secret: str = "local-perp-secret"
    trade: bool = True
    withdraw: bool = False
    read_only: bool = False
    revoked: bool = False

    def info(self, unified: bool = True) -> dict[str, Any]:
        """Result of `/v5/user/query-api`. The secret isn't part of it."""
        wallet = ["AccountTransfer"] + (["Withdraw"] if self.withdraw else [])
        trades = self.trade and not self.read_only
        return {
            "id": "70001",
            "note": "local test",
            "apiKey": self.api,
            "readOnly": int(self.read_only),
            "secret": "",
            "permissions": {
                "ContractTrade": ["Order", "Position"] if trades else [],
                "Spot": ["SpotTrade"] if trades else [],
                "Wallet": wallet,
                "Options": [],
                "Derivatives": ["DerivativesTrade"] if trades else [],
                "Exchange": [],
            },
            "ips": ["*"],
            "type": 1,
            "deadlineDay": 80,
            "expiredAt": "2030-01-01T00:00:00Z",
            "createdAt": "2024-01-01T00:00:00Z",
            "unified": 0,
            "uta": int(unified),
            "userID": 10001,
            "inviterID": 0,
            "vipLevel": "No VIP",
            "mktMakerLevel": "0",
            "affiliateID": 0,
            "isMaster": True,
            "parentUid": "0",
        }


def signature(secret: str, text: str) -> str:
    """HMAC-SHA256 as lower-case hexadecimal digits."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def check_request(key: Key, headers: Mapping[str, str], payload: str, now_ms: int) -> None:
    """Refuse a private request that isn't signed by the key within its window.

    payload is the body of a POST, the query string as it stood in the address of a GET.

    Raises
    ------
    Denied
        10007 headers are missing; 10003 the key is unknown or revoked; 10002 outside the receive window; 10004 the
        signature is another.
    """
    given = [headers.get(f"X-BAPI-{name}", "") for name in ("API-KEY", "TIMESTAMP", "SIGN")]
    if not all(given):
        raise Denied(10007, "User authentication failed.", status=401)
    api, stamp, sign = given
    window = headers.get("X-BAPI-RECV-WINDOW", "5000")
    if api != key.api or key.revoked:
        raise Denied(10003, "API key is invalid.")
    if not stamp.isdigit() or not window.isdigit():
        raise Denied(10001, "params error: timestamp and recv_window must be whole milliseconds")
    if not now_ms - min(int(window), PAST_MS) <= int(stamp) < now_ms + AHEAD_MS:
        text = "invalid request, please check your server timestamp or recv_window param."
        raise Denied(10002, f"{text} req_timestamp[{stamp}],server_timestamp[{now_ms}],recv_window[{window}]")
    if not hmac.compare_digest(sign, signature(key.secret, stamp + api + window + payload)):
        raise Denied(10004, f"error sign! origin_string[{stamp}{api}{window}{payload}]")


def check_right(key: Key) -> None:
    """Refuse (10005) what only a key with the right to trade may do."""
    if key.read_only or not key.trade:
        raise Denied(10005, "Permission denied, please check your API key permissions.")


def check_stream(key: Key, args: list[Any], now_ms: int) -> str:
    """Why a private stream isn't let in: text for the answer, empty when it is."""
    if len(args) != 3 or not str(args[1]).isdigit():
        return "Params Error"
    api, expires, sign = (str(item) for item in args)
    if api != key.api or key.revoked:
        return "API key is invalid."
    if int(expires) <= now_ms:
        return "Params Error: expired"
    return "" if hmac.compare_digest(sign, signature(key.secret, f"GET/realtime{expires}")) else "Sign error"
