"""Which texts speak of the coins of a run: a quick sieve for streams of everything, before anything is stored.

It only sorts out what is plainly about something else; what a post means, and which coin it means, the scoring says
later. So a name that is an everyday word as well (`link`, `near`, `one`) counts as a cashtag only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

WORD_CHARS_MAX: Final = 64

_TABLE: Final = """
BTC  * bitcoin, bitcoins, xbt, satoshis
ETH  * ethereum, etherium, vitalik
USDT * tether
USDC * usd coin
XRP  * xrpl, ripple labs
BNB  * binance coin, bnb chain
SOL    solana
DOGE * dogecoin
ADA    cardano
TRX  * tronix
TON    toncoin
DOT    polkadot
MATIC * polygon network, matic network
POL    polygon network
LTC  * litecoin
SHIB * shiba inu, shibarium
AVAX * avalanche network
LINK   chainlink
UNI    uniswap
ATOM   cosmos hub, cosmos network
ETC    ethereum classic
XLM  * stellar lumens
XMR  * monero
BCH  * bitcoin cash
HBAR * hedera
FIL    filecoin
APT    aptos
ARB    arbitrum
OP     optimism network
NEAR   near protocol
AAVE *
SUI    sui network
PEPE   pepecoin, pepe coin
MKR    makerdao
ALGO   algorand
VET    vechain
ICP    internet computer, dfinity
XTZ  * tezos
EOS    eosio
"""
"""Ticker, a star where it means nothing else when it stands alone, and names that mean nothing else."""


def _rows() -> dict[str, tuple[bool, tuple[str, ...]]]:
    found = {}
    for line in _TABLE.strip().splitlines():
        ticker, _, rest = line.partition(" ")
        rest = rest.strip()
        names = tuple(name.strip() for name in rest.removeprefix("*").split(",") if name.strip())
        found[ticker] = (rest.startswith("*"), names)
    return found


NAMES: Final = _rows()
_TOKEN = re.compile(r"\$?\w+")


class Sieve:
    """Says whether a text holds one of the words; built once, asked for each text.

    Parameters
    ----------
    coins : iterable of str
        Tickers: as cashtags (`$BTC`) and pairs (`BTCUSDT`), and by the names of the table.
    words : iterable of str
        More words, in any case; several with spaces between them are a phrase. Words of letters beyond ASCII count
        wherever they stand, since not all languages part their words.

    Examples
    --------
    >>> sieve = Sieve(["BTC", "LINK"], ["halving", "layer two"])
    >>> [sieve.holds(text) for text in ("Bitcoin!", "$LINK up", "see the link", "layer  two", "btcs")]
    [True, True, False, True, False]
    """

    def __init__(self, coins: Iterable[str], words: Iterable[str] = ()) -> None:
        self._single: set[str] = set()
        self._phrases: dict[str, list[re.Pattern[str]]] = {}
        self._anywhere: list[re.Pattern[str]] = []
        for coin in coins:
            bare, names = NAMES.get(coin.upper(), (False, ()))
            ticker = coin.lower()
            self._single |= {
                f"${ticker}",
                f"{ticker}usdt",
                f"{ticker}usd",
                f"{ticker}usdc",
                *([ticker] if bare else []),
            }
            for name in names:
                self._add(name)
        for word in words:
            self._add(word)

    def holds(self, text: str) -> bool:
        """Whether one of the words stands in the text, at bounds of words."""
        low = text.lower()
        found = _TOKEN.findall(low)
        if not self._single.isdisjoint(found):
            return True
        for first in self._phrases.keys() & found if self._phrases else ():
            if any(phrase.search(low) for phrase in self._phrases[first]):
                return True
        return any(word.search(low) for word in self._anywhere)

    def _add(self, word: str) -> None:
        low = " ".join(word.lower().split())
        tokens = _TOKEN.findall(low)
        if tokens == [low] and low.isascii():
            self._single.add(low)
            return
        spaced = r"\s+".join(re.escape(part) for part in low.split())
        if low.isascii() and tokens:
            self._phrases.setdefault(tokens[0], []).append(re.compile(rf"(?<![\w$]){spaced}(?!\w)"))
        else:
            self._anywhere.append(re.compile(spaced))
