"""The form of a text that names are looked up in: words between single spaces, and where each of them came from.

Marks that end a phrase stay as a word ``|`` of their own, so that no name is read across them: "I sold bitcoin. Cash is
king" and "bitcoin, cash" speak of no Bitcoin Cash.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

_BREAKS: Final = ',;:!?()[]{}"|'
_ASCII: Final = "".join(
    chr(code) if chr(code).isalnum() or chr(code) in "_$@" else "|" if chr(code) in _BREAKS else " "
    for code in range(128)
)
_ASCII_BYTES: Final = _ASCII.encode() + b" " * 128
_ASCII_SIGNS: Final = dict(enumerate(_ASCII))
_ODD = re.compile(r"[^\x00-\x7f]+")
_CJK_SIGNS: Final = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]"  # no spaces there: each sign is a word
_CJK = re.compile(_CJK_SIGNS)
_WORDS = re.compile(rf"\||{_CJK_SIGNS}|(?:(?!{_CJK_SIGNS})[^ |])+")
_CACHED_CHARS: Final = 32


def without_links(text: str) -> str:
    """The text with blanks in the place of web addresses; what is glued to the front of one is kept."""
    if "://" in text:
        text = _blanked(text, "://")
    if "www." in text:
        text = _blanked(text, "www.")
    return text


def _blanked(text: str, mark: str) -> str:
    """Blanks from each mark (and the "https" before it) to the end of its word."""
    pieces = []
    reached = 0
    at = text.find(mark)
    while at >= 0:
        end = text.find(" ", at)
        end = len(text) if end < 0 else end
        start = at
        if mark == "://":
            start -= 5 if text.endswith("https", reached, at) else 4 if text.endswith("http", reached, at) else 0
        elif at and text[at - 1] != " ":
            start = end  # inside a word: no address
        pieces.append(text[reached:start])
        pieces.append(" " * (end - start))
        reached = end
        at = text.find(mark, end)
    pieces.append(text[reached:])
    return "".join(pieces)


def spaced(text: str) -> str:
    """Words between single spaces, a space at either end; case and the marks $, @ and _ are kept.

    >>> spaced("Bitcoin's up (5%), $SOL too")
    ' Bitcoin s up | 5 | | $SOL too '
    """
    flat = _flat(text).replace("|", " | ")
    if not flat.isascii():
        flat = _CJK.sub(r" \g<0> ", flat)
    return f" {' '.join(flat.split())} "


def places(text: str) -> tuple[dict[int, int], dict[int, int]]:
    """Where each word of `spaced(text)` starts and ends there, each mapped to the same in the text itself."""
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    at = 1
    for word in _WORDS.finditer(_flat(text)):
        start, end = word.span()
        starts[at] = start
        at += end - start
        ends[at] = end
        at += 1
    return starts, ends


def _flat(text: str) -> str:
    """The text character by character: a word's as they are but for accents, a blank or ``|`` for the rest."""
    if ". " in text:
        text = text.replace(". ", "| ")
    if " - " in text:
        text = text.replace(" - ", " | ")
    if ".eth" in text:
        text = text.replace(".eth", "_eth")  # a name in the Ethereum name service speaks of no coin
    if not text.isascii():
        odd = "".join(_ODD.findall(text))
        if _has_words_cached(odd) if len(odd) <= _CACHED_CHARS else _has_words(odd):
            text = _ODD.sub(_plain_run, text)
            if not text.isascii():
                return text.translate(_ASCII_SIGNS)
    # Twenty times faster than on str; a symbol that isn't ASCII becomes a question mark, and that a break.
    return text.encode("ascii", "replace").translate(_ASCII_BYTES).decode("ascii")


def _has_words(odd: str) -> bool:
    """Whether any of these characters belongs to a word."""
    return any(map(str.isalnum, odd))


_has_words_cached = lru_cache(maxsize=16_384)(_has_words)


def _plain_run(match: re.Match[str]) -> str:
    run = match[0]
    return _plain_cached(run) if len(run) <= _CACHED_CHARS else "".join(map(_plain_cached, run))


@lru_cache(maxsize=16_384)
def _plain_cached(run: str) -> str:
    return "".join(map(_plain, run))


def _plain(letter: str) -> str:
    """One character that isn't ASCII: a letter without accents, or a break."""
    if not letter.isalnum():
        return "|"
    base = unicodedata.normalize("NFD", letter)[0]
    if base.isascii():
        return base
    return letter if len(letter.lower()) == 1 else "|"
