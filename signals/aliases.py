"""The user's own names for coins: a TOML file on top of the built-in table.

```toml
[BTC]
names = ["corn", "digital gold"]  # count in any case, wherever they stand
handles = ["@saylor"]             # accounts that speak of this coin
ambiguous = ["orange coin"]       # count with a capital and beside a crypto cue only
addresses = ["0x5e…"]             # contracts: 0x and 40 hex digits, or base58 as on Solana and Tron
drop = ["satoshis"]               # readings of the built-in table that are not wanted

[MYCOIN]                          # a coin the table doesn't have
ticker = "cue"                    # how the bare ticker counts: any, upper, cue, word, tag or stock (default: cue)
names = ["my coin"]
```
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from data.errors import InputError, raise_all
from signals.coins import COINS, TICKER_RULES, Coin

KEYS: Final = ("names", "handles", "ambiguous", "addresses", "drop", "ticker")
_TICKER = re.compile(r"[A-Z0-9]{1,15}")
_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}|[1-9A-HJ-NP-Za-km-z]{32,44}")
_HANDLE = re.compile(r"@?[A-Za-z0-9_]{1,30}")


def read_aliases(path: Path) -> dict[str, Coin]:
    """The built-in table with a user's file on top.

    Raises
    ------
    InputError, InputErrors
        The file is missing or no TOML, or holds unknown coins' keys, empty names, wrong types, one name for two coins;
        all faults at once.
    """
    tables = _load(Path(path))
    faults: list[InputError] = []
    coins = dict(COINS)
    for ticker, table in tables.items():
        found = _entry_faults(path, ticker, table)
        faults += found
        if not found:
            coins[ticker] = _merged(coins.get(ticker), ticker, table)
            faults += _drop_faults(path, ticker, table)
    faults += _shared_names(path, coins, set(tables))
    raise_all(faults)
    return coins


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = 'Give the path of a TOML file with one table a coin, such as [BTC] and under it names = ["corn"]'
        raise InputError("no such alias file", where=path, remedy=remedy) from None
    except IsADirectoryError:
        raise InputError("is a folder, not an alias file", where=path, remedy="Give the file itself") from None
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror})", where=path) from error
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text (byte {error.start})", where=path, remedy="Save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not valid TOML: {error}", where=path, remedy="Mend that line") from None


def _entry_faults(path: Path, ticker: str, table: Any) -> list[InputError]:
    if not isinstance(table, dict):
        remedy = f"Put it under a coin: a line [BTC], and below it {ticker} = …"
        return [InputError("stands outside a coin's table", where=path, key=ticker, value=table, remedy=remedy)]
    if not _TICKER.fullmatch(ticker):
        remedy = f"Write the ticker in upper case, for example [{ticker.upper()}]"
        return [InputError("not a coin's ticker", where=path, key=ticker, remedy=remedy)]
    faults = []
    for key, value in table.items():
        full = f"{ticker}.{key}"
        if key not in KEYS:
            remedy = f"Known keys: {', '.join(KEYS)}"
            faults.append(InputError("unknown key", where=path, key=full, value=value, remedy=remedy))
        elif key == "ticker":
            if value not in TICKER_RULES:
                remedy = f"One of {', '.join(TICKER_RULES)}"
                faults.append(InputError("no such rule", where=path, key=full, value=value, remedy=remedy))
        else:
            faults += _word_faults(path, full, key, value)
    return faults


def _word_faults(path: Path, full: str, key: str, value: Any) -> list[InputError]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        remedy = 'Write a list of texts, for example ["corn"]'
        return [InputError("not a list of texts", where=path, key=full, value=value, remedy=remedy)]
    faults = []
    for word in value:
        if not any(letter.isalnum() for letter in word):
            faults.append(InputError("an empty name", where=path, key=full, value=word, remedy="Leave it out"))
        elif key == "handles" and not _HANDLE.fullmatch(word):
            remedy = "A handle is letters, digits and underscores, for example @bitcoin"
            faults.append(InputError("not a handle", where=path, key=full, value=word, remedy=remedy))
        elif key == "addresses" and not _ADDRESS.fullmatch(word.strip()):
            remedy = "A contract's address is 0x and 40 hex digits, or 32 to 44 letters and digits of base58"
            faults.append(InputError("not an address", where=path, key=full, value=word, remedy=remedy))
    return faults


def _words(table: dict[str, Any], key: str) -> tuple[str, ...]:
    return tuple(word.strip().lower().removeprefix("@") for word in table.get(key, ()))


def _dropped(table: dict[str, Any]) -> tuple[str, ...]:
    """Readings to take from the built-in table; a handle keeps its @."""
    return tuple(word.strip().lower() for word in table.get("drop", ()))


def _merged(coin: Coin | None, ticker: str, table: dict[str, Any]) -> Coin:
    base = coin or Coin(ticker, "cue")
    dropped = _dropped(table)
    handles = {word.removeprefix("@") for word in dropped if word.startswith("@")} | {*_words(table, "handles")}
    unwanted = {*dropped, *_words(table, "names"), *_words(table, "ambiguous")}

    def kept(words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(word for word in words if word not in unwanted)

    return Coin(
        ticker,
        table.get("ticker", base.rule),
        names=(*kept(base.names), *_words(table, "names")),
        ambiguous_names=(*kept(base.ambiguous_names), *_words(table, "ambiguous")),
        proper_names=kept(base.proper_names),
        handles=(*(word for word in base.handles if word not in handles), *_words(table, "handles")),
        addresses=(*kept(base.addresses), *(word for word in _words(table, "addresses") if word not in base.addresses)),
    )


def _drop_faults(path: Path, ticker: str, table: dict[str, Any]) -> list[InputError]:
    base = COINS.get(ticker)
    known = set(_readings(base)) if base else set()
    return [
        InputError(
            "not in the built-in table",
            where=path,
            key=f"{ticker}.drop",
            value=word,
            remedy=f"It has {', '.join(sorted(known)) or 'nothing of this coin'}",
        )
        for word in _dropped(table)
        if word not in known
    ]


def _readings(coin: Coin) -> tuple[str, ...]:
    handles = (f"@{handle}" for handle in coin.handles)
    return (*coin.names, *coin.ambiguous_names, *coin.proper_names, *handles, *coin.addresses)


def _shared_names(path: Path, coins: dict[str, Coin], changed: set[str]) -> list[InputError]:
    """One error for each reading that two coins claim."""
    owners: dict[str, str] = {}
    faults = []
    for ticker, coin in coins.items():
        for word in dict.fromkeys(_readings(coin)):
            owner = owners.setdefault(word, ticker)
            if owner != ticker and {owner, ticker} & changed:
                remedy = f'Keep it in one of them; drop = ["{word}"] takes it from the built-in table'
                what = f"names two coins, {owner} and {ticker}"
                faults.append(InputError(what, where=path, key="names", value=word, remedy=remedy))
    return faults
