"""What the exchange process is told at its start: one JSON document, without any secret."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from bot.exchange.caps import Limits
from data.errors import InputError

RECV_WINDOW_MS = 5_000
TIMEOUT_MS = 12_000
_TOP = {"exchange", "bot", "market", "symbols", "leverage", "folder", "caps", "key", "peers"}
_EXCHANGE = {"id", "urls", "sandbox", "demo", "recv_window_ms", "timeout_ms", "options", "streams"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The document, checked. `folder` is the account's session folder; `key_name` names the key in every source.

    `peers` are users (numbers) besides the process's own that may talk to it, where it runs as one of its own.
    """

    exchange: str
    bot_id: str
    market: str
    symbols: tuple[str, ...]
    folder: Path
    limits: Limits
    urls: Mapping[str, str] = field(default_factory=dict)
    sandbox: bool = False
    demo: bool = False
    recv_window_ms: int = RECV_WINDOW_MS
    timeout_ms: int = TIMEOUT_MS
    options: Mapping[str, Any] = field(default_factory=dict)
    streams: bool = True
    leverage: Decimal | None = None
    key_name: str = "default"
    key_file: Path | None = None
    peers: tuple[int, ...] = ()


def read_settings(text: str, where: str = "the exchange process's document") -> Settings:
    """The settings in a JSON document.

    Raises
    ------
    InputError
        It isn't JSON, a key is unknown or missing, or a value is of another kind.
    """
    try:
        body = json.loads(text)
    except ValueError:
        raise InputError("not JSON", where=where) from None
    _only(body, _TOP, where)
    venue = _only(body.get("exchange"), _EXCHANGE, f"{where}: exchange")
    key = _only(body.get("key", {}), {"name", "file"}, f"{where}: key")
    bot_id = body.get("bot")
    if not isinstance(bot_id, str) or not re.fullmatch(r"[0-9a-f]{8}", bot_id):
        raise InputError("a bot's id is 8 hex characters", where=where, key="bot", value=bot_id)
    if body.get("market") not in ("spot", "perp"):
        raise InputError('"spot" or "perp"', where=where, key="market", value=body.get("market"))
    symbols = body.get("symbols")
    if not isinstance(symbols, list) or not symbols or not all(isinstance(one, str) for one in symbols):
        raise InputError("a list of symbols", where=where, key="symbols", value=symbols)
    peers = body.get("peers", [])
    if not isinstance(peers, list) or not all(type(one) is int and one >= 0 for one in peers):
        raise InputError("a list of users' numbers", where=where, key="peers", value=peers)
    for name in ("id", "folder"):
        given = venue.get("id") if name == "id" else body.get("folder")
        if not isinstance(given, str) or not given:
            raise InputError("missing", where=where, key=name)
    return Settings(
        exchange=venue["id"],
        bot_id=bot_id,
        market=body["market"],
        symbols=tuple(symbols),
        folder=Path(body["folder"]),
        limits=Limits.read(body.get("caps"), f"{where}: caps"),
        urls=dict(venue.get("urls") or {}),
        sandbox=_flag(venue, "sandbox", False, where),
        demo=_flag(venue, "demo", False, where),
        recv_window_ms=_whole(venue, "recv_window_ms", RECV_WINDOW_MS, where),
        timeout_ms=_whole(venue, "timeout_ms", TIMEOUT_MS, where),
        options=dict(venue.get("options") or {}),
        streams=_flag(venue, "streams", True, where),
        leverage=None if body.get("leverage") is None else Decimal(str(body["leverage"])),
        key_name=str(key.get("name") or "default"),
        key_file=None if key.get("file") is None else Path(key["file"]).expanduser(),
        peers=tuple(peers),
    )


def _only(body: Any, known: set[str], where: str) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InputError("an object is missing here", where=where)
    if body.keys() - known:
        raise InputError("unknown key", where=where, key=sorted(body.keys() - known)[0])
    return body


def _flag(body: dict[str, Any], name: str, default: bool, where: str) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise InputError("true or false", where=where, key=name, value=value)
    return value


def _whole(body: dict[str, Any], name: str, default: int, where: str) -> int:
    value = body.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise InputError("a whole number of milliseconds above 0", where=where, key=name, value=value)
    return value
