"""Other endpoints in the place of ccxt's own: a test venue, a proxy, a private gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.errors import InputError


def replace_urls(api: Any, urls: Mapping[str, str], *, key: str = "exchange.urls") -> Any:
    """ccxt's `urls["api"]` with endpoints replaced.

    `rest` and `stream` stand in for scheme and host of every HTTP and WebSocket address, whose paths are kept behind
    them; `user` does so for addresses of private streams (under a key with `private` or `ws-api`). Any other name is an
    entry of ccxt's own, its levels parted by dots (`ws.spot`), and is taken as it is.

    Raises
    ------
    InputError
        ccxt has no such entry for this exchange.
    """
    changed = _moved(api, urls, private=False)
    for name, address in urls.items():
        if name in ("rest", "stream", "user"):
            continue
        table, *rest = changed, *name.split(".")
        while len(rest) > 1 and isinstance(table, dict):
            table = table.get(rest.pop(0))
        if not isinstance(table, dict) or rest[0] not in table:
            remedy = "Use rest, stream, user, or an entry of ccxt's urls['api'], for example ws.spot"
            raise InputError("no such endpoint", key=key, value=name, remedy=remedy)
        table[rest[0]] = address
    return changed


def _moved(entry: Any, urls: Mapping[str, str], *, private: bool) -> Any:
    if isinstance(entry, dict):
        return {
            name: _moved(below, urls, private=private or "private" in name.lower() or name == "ws-api")
            for name, below in entry.items()
        }
    if not isinstance(entry, str):
        return entry
    is_stream = entry.startswith("ws")
    name = "rest" if not is_stream else "user" if private and "user" in urls else "stream"
    if name not in urls:
        return entry
    scheme, _, rest = entry.partition("://")
    return urls[name].rstrip("/") + "".join(rest.partition("/")[1:])
