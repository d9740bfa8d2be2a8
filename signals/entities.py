"""Which coins a post is about: one pass over the normalised text, the same answer in every process.

The rules:

1. A cashtag (``$SOL``, any case), a project's handle (``@solana``), a pair (``SOLUSDT``), a contract's address and an
   unambiguous name (``bitcoin``, ``btc``) count. Nothing inside a web address does.
2. A bare ticker counts in upper case only. One that is also a word or another acronym (``ADA``, ``LINK``; see
   `signals.coins`) counts only beside a crypto cue: a word such as "token" or "staking", or another coin. In a post
   that shouts, capitals say nothing, and such tickers don't count at all.
3. An ambiguous name ("Avalanche", "Stellar") counts with a capital and beside a cue; two that hardly mean anything
   else in the news ("Tether", "Ripple") need no cue inside a sentence or before a second capital.
4. A cashtag that is better known as a stock's (``$T``) counts beside a cue.
5. The longest reading wins: "bitcoin cash" is BCH and says nothing of BTC, "ripple effect" is no coin.
6. Four or more different cashtags mark a post as spam-like.
7. A post is market-wide when it speaks of the market as such ("crypto market", "altcoins"), or of crypto and no coin.
"""

from __future__ import annotations

import hashlib
import re
import string
from bisect import bisect_left
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from signals.coins import COINS, STABLE, Coin
from signals.cues import MARKET, MARKET_ASIDE, NOT_COINS, STRONG_CUES, WEAK_CUES
from signals.spacing import places, spaced, without_links
from signals.text import normalise

if TYPE_CHECKING:
    from pathlib import Path

CASHTAGS_SPAM: Final = 4
"""This many different cashtags make a post spam-like."""

CUE_CHARS: Final = 60
"""A strong cue counts within so many characters on either side."""

NEAR_CHARS: Final = 18
"""A weak cue, and a cue for a ticker that is an everyday word, counts within so many characters: two words or so."""

SHOUTING_MIN: Final = 10
"""A text with fewer capitals outside its coins' names doesn't shout."""

_PATTERN_CHARS_MAX: Final = 64  # longer names are no cues for what stands after them

_RULES_VERSION: Final = "2"

# What a pattern says when it is found; the first four count as they stand, a bare ticker under "upper" in upper case.
_SURE, _CASHTAG, _HANDLE, _UPPER = range(4)
_CUED, _WORD, _STOCK, _NAME, _PROPER = range(4, 9)
_STRONG, _WEAK, _MARKET, _ASIDE, _NONE = range(9, 14)
_TICKER_KIND: Final = {"any": _SURE, "upper": _UPPER, "cue": _CUED, "word": _WORD}
_CUES: Final = frozenset({_SURE, _CASHTAG, _HANDLE, _UPPER, _STRONG, _MARKET, _ASIDE})
_UNSURE: Final = frozenset({_CUED, _WORD})
_NEED_CUES: Final = frozenset({*_UNSURE, _STOCK, _NAME, _PROPER})
_QUOTES: Final = ("usd", "usdt", "usdc", "busd", "perp", "btc")

_CAPITALS: Final = string.ascii_uppercase.encode()
_LETTERS: Final = string.ascii_letters.encode()
_CASHTAGS = re.compile(r"\$([A-Za-z][A-Za-z0-9]{0,14})(?![A-Za-z0-9])")


@dataclass(frozen=True, slots=True)
class Links:
    """What a post is about: coins in order of first mention, the market as such or not, spam-like or not."""

    coins: tuple[str, ...]
    market: bool
    spam: bool


class Mention(NamedTuple):
    """Where a text names a coin: characters ``start`` to ``end`` (exclusive) of its normal form."""

    start: int
    end: int
    ticker: str


class _Pattern(NamedTuple):
    """One way of writing: what it says, of which coin, and how long it is with a space on both sides."""

    kind: int
    ticker: str
    length: int


_Spans = Sequence[tuple[int, int]]
_Found = tuple[int, int, _Pattern]
_links = lru_cache(maxsize=4096)(Links)


class Linker:
    """Finds the coins in texts.

    Parameters
    ----------
    coins : mapping of ticker to Coin, optional
        The built-in table by default; `signals.aliases.read_aliases` gives it with a user's file on top.

    Examples
    --------
    >>> Linker().link("ADA staking is live, and so is $SOL")
    Links(coins=('ADA', 'SOL'), market=False, spam=False)
    """

    def __init__(self, coins: dict[str, Coin] | None = None) -> None:
        self.coins = dict(COINS if coins is None else coins)
        self._automaton = self._compile()

    @classmethod
    def with_aliases(cls, path: Path) -> Linker:
        """A linker over the built-in table and a user's alias file (see `signals.aliases`)."""
        from signals.aliases import read_aliases

        return cls(read_aliases(path))

    @property
    def identity(self) -> str:
        """Hash of the rules and of every coin in the table: equal linkers give equal links."""
        digest = hashlib.sha256(f"rules {_RULES_VERSION}".encode())
        for group in (STRONG_CUES, WEAK_CUES, MARKET, MARKET_ASIDE, NOT_COINS):
            digest.update("|".join(group).encode() + b"\n")
        for ticker in sorted(self.coins):
            digest.update(repr(self.coins[ticker]).encode() + b"\n")
        return digest.hexdigest()

    def link(self, text: str) -> Links:
        """What a text is about; any string will do, hostile ones too."""
        return self.link_normal(normalise(text))

    def link_many(self, texts: Iterable[str]) -> list[Links]:
        """The same for many texts, in order."""
        link_normal = self.link_normal
        return [link_normal(normalise(text)) for text in texts]

    def link_normal(self, text: str) -> Links:
        """What a text already in normal form (`signals.text.normalise`) is about."""
        text = without_links(text)
        spam = text.count("$") >= CASHTAGS_SPAM and _is_spam(text)
        cased = spaced(text)
        spans = self._spans(cased)
        if not spans:
            return _links((), False, spam)
        kinds = {found.kind for _, _, found in spans}
        coins = _coins(spans, kinds, cased)
        return _links(coins, _MARKET in kinds or (_ASIDE in kinds and not coins), spam)

    def mentions(self, text: str) -> tuple[Mention, ...]:
        """Where a text in normal form names the coins it is about, in order and apart from each other.

        Once a coin counts, its name or upper-case ticker needs no cue of its own elsewhere in the text.

        >>> Linker().mentions("ADA token or $SOL?")
        (Mention(start=0, end=3, ticker='ADA'), Mention(start=13, end=17, ticker='SOL'))
        """
        text = without_links(text)
        cased = spaced(text)
        spans = self._spans(cased)
        coins = _coins(spans, {found.kind for _, _, found in spans}, cased)
        if not coins:
            return ()
        shouting = _is_shouting(cased, spans)
        starts, ends = places(text)
        mentions: list[Mention] = []
        reached = 0
        for start, end, found in spans:
            if found.ticker not in coins or not _may_name(found, cased, start, end, shouting):
                continue
            if start < reached and found.ticker == mentions[-1].ticker:  # two readings share a word
                mentions[-1] = mentions[-1]._replace(end=ends[end])
            else:
                mentions.append(Mention(starts[max(start, reached) + 1], ends[end], found.ticker))
            reached = end
        return tuple(mentions)

    def _spans(self, cased: str) -> list[_Found]:
        """What is found, as (start, end, pattern), both ends on the space around it; the longest reading alone."""
        found = [(end - pattern.length + 1, -end, pattern) for end, pattern in self._automaton.iter(cased.lower())]
        found.sort()
        spans = []
        reached = -1
        for start, minus_end, pattern in found:
            if -minus_end > reached:
                reached = -minus_end
                spans.append((start, reached, pattern))
        return spans

    def _compile(self) -> Any:
        import ahocorasick

        automaton = ahocorasick.Automaton()
        for written, (kind, ticker) in _readings(self.coins).items():
            padded = f" {written} "
            automaton.add_word(padded, _Pattern(kind, ticker, len(padded)))
        automaton.make_automaton()
        return automaton


def _readings(coins: dict[str, Coin]) -> dict[str, tuple[int, str]]:
    """Every way of writing and what it says; what a coin claims stands before a cue, an earlier coin before a later."""
    readings: dict[str, tuple[int, str]] = {}

    def claim(written: str, kind: int, ticker: str) -> None:
        readings.setdefault(spaced(written).lower().strip(), (kind, ticker))

    for ticker, coin in coins.items():
        for name in coin.names:
            claim(name, _SURE, ticker)
        for address in coin.addresses:
            claim(address, _SURE, ticker)
        for handle in coin.handles:
            claim(f"@{handle}", _HANDLE, ticker)
        for name in coin.ambiguous_names:
            claim(name, _NAME, ticker)
        for name in coin.proper_names:
            claim(name, _PROPER, ticker)
    for ticker, coin in coins.items():
        claim(f"${ticker}", _STOCK if coin.rule == "stock" else _CASHTAG, ticker)
        if coin.rule in _TICKER_KIND:
            claim(ticker, _TICKER_KIND[coin.rule], ticker)
        for quote in _QUOTES:
            if len(ticker) > 1 and (
                quote != "btc" or coin.rule not in {"tag", "stock"}
            ):  # "tBTC", "altBTC" are no pairs
                claim(f"{ticker}{quote}", _SURE, ticker)
            claim(f"{ticker}_{quote}", _SURE, ticker)
            claim(f"${ticker}{quote}", _CASHTAG, ticker)
    for phrase in NOT_COINS:
        claim(phrase, _NONE, "")
    for phrases, kind in ((MARKET, _MARKET), (MARKET_ASIDE, _ASIDE), (STRONG_CUES, _STRONG), (WEAK_CUES, _WEAK)):
        for phrase in phrases:
            claim(phrase, kind, "")
    return readings


def _is_spam(text: str) -> bool:
    return len({tag.upper() for tag in _CASHTAGS.findall(text)}) >= CASHTAGS_SPAM


def _coins(spans: Sequence[_Found], kinds: Set[int], cased: str) -> tuple[str, ...]:
    """The coins that count, in order of first mention; `cased` is the spaced text that positions refer to."""
    if kinds.isdisjoint(_NEED_CUES):
        named = [
            (start, end, ticker)
            for start, end, (kind, ticker, _) in spans
            if kind <= _UPPER and (kind != _UPPER or cased[start:end].isupper())
        ]
    else:
        named = _weighed(spans, cased)
    tickers = [ticker for _, _, ticker in named]
    if len(tickers) > 1 and not STABLE.isdisjoint(tickers):
        tickers = _without_quotes(named, cased)
    return tuple(dict.fromkeys(tickers))


def _weighed(spans: Sequence[_Found], cased: str) -> list[tuple[int, int, str]]:
    """What names a coin where some readings need a cue."""
    cues = [(start, end) for start, end, found in spans if found.kind in _CUES and _is_as_written(found, cased, start)]
    weak = [(start, end) for start, end, found in spans if found.kind == _WEAK]
    shouting = _is_shouting(cased, spans)
    named = []
    for start, end, found in spans:
        kind = found.kind
        if not found.ticker or not _may_name(found, cased, start, end, shouting):
            continue
        if kind in _UNSURE:
            counts = _is_cued(found, start, end, cues, weak)
        else:
            proper = kind == _PROPER and (start > 0 or cased[end + 1 : end + 2].isupper())
            counts = kind <= _UPPER or proper or _beside(cues, start, end, CUE_CHARS)
        if counts:
            named.append((start, end, found.ticker))
    return named


def _without_quotes(named: Sequence[tuple[int, int, str]], cased: str) -> list[str]:
    """Tickers without the stable coins that others are quoted in: ``SOL/USDT``, but not ``BTC/ETH/USDT``.

    Names side by side make a run; the stable coin is a quote in a run of two, and when it comes again in a longer one.
    """
    kept: list[str] = []
    run: list[tuple[str, bool]] = []
    reached = -1
    for start, end, ticker in [*named, (-1, -1, "")]:
        if start != reached:
            quotes = [word for word, quotes in run[1:] if quotes]
            kept += [
                word
                for at, (word, quotes_it) in enumerate(run)
                if not (at and quotes_it and (len(run) == 2 or quotes.count(word) > 1))
            ]
            run = []
        run.append((ticker, ticker in STABLE and cased[start + 1 : end].upper() == ticker))
        reached = end
    return kept


def _may_name(found: _Pattern, cased: str, start: int, end: int, shouting: bool) -> bool:
    """Whether a reading is written as its coin is: an unsure ticker in capitals, an ambiguous name with one."""
    if found.kind <= _UPPER:
        return _is_as_written(found, cased, start)
    if found.kind in _UNSURE:
        return not shouting and cased[start:end].isupper()
    return found.kind == _STOCK or cased[start + 1].isupper()


def _is_cued(found: _Pattern, start: int, end: int, cues: _Spans, weak: _Spans) -> bool:
    """Whether an ambiguous bare ticker stands beside a cue good enough for it."""
    if found.kind == _WORD:
        return _beside(cues, start, end, NEAR_CHARS)
    return _beside(cues, start, end, CUE_CHARS) or _beside(weak, start, end, NEAR_CHARS)


def _is_as_written(found: _Pattern, cased: str, start: int) -> bool:
    """Whether a certain reading counts as written: a bare ticker under the rule ``upper`` has to be in upper case."""
    return found.kind != _UPPER or cased[start : start + found.length].isupper()


def _beside(cues: _Spans, start: int, end: int, chars: int) -> bool:
    """Whether a cue other than the span itself stands within so many characters of it; `cues` are sorted by start."""
    for at in range(bisect_left(cues, (start - chars - _PATTERN_CHARS_MAX, 0)), len(cues)):
        cue_start, cue_end = cues[at]
        if cue_start > end + chars:
            return False
        if cue_end >= start - chars and (cue_start, cue_end) != (start, end):
            return True
    return False


def _is_shouting(cased: str, spans: Sequence[_Found]) -> bool:
    """Whether most letters of a text are capitals, names of coins left out; asked only where capitals matter."""
    if not any(found.kind in _UNSURE for _, _, found in spans):
        return False
    reached = 0
    rest = []
    for start, end, found in spans:
        if found.ticker:
            rest.append(cased[reached:start])
            reached = end
    rest.append(cased[reached:])
    letters = "".join(rest).encode("ascii", "ignore")
    lower = len(letters.translate(None, _CAPITALS))
    upper = len(letters) - lower
    lower -= len(letters.translate(None, _LETTERS))
    return upper >= SHOUTING_MIN and upper > lower
