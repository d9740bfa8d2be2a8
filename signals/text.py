"""One normal form for every text that is linked, hashed or scored: what a reader sees, without what is hidden in it.

In this order: cut to `TEXT_CHARS_MAX`, lone surrogates and control characters out, HTML entities and tags out, NFKC,
invisible characters (zero width, bidi, variation selectors, stray accents) out, look-alike letters to Latin, white
space to single spaces. `tricks` says what of that a text did to hide something.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from functools import lru_cache
from typing import Final

from data.facts import HIDDEN_MARKS, LOOK_ALIKES, PREFIXED
from signals.lookalikes import has_look_alikes, in_latin, may_pose

TEXT_CHARS_MAX: Final = 65_536
"""Longer posts are cut here: a model reads 512 tokens, and a hostile ten-megabyte post costs no more than a book."""

ROUNDS_MAX: Final = 8
"""An entity may hide a tag, and an entity another entity; nesting deeper than this is left as it is."""

_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_UNREAD = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|$)", re.DOTALL | re.IGNORECASE)
_ODD = re.compile(r"[^\x00-\x7f]+")
_CACHED_CHARS: Final = 32
_INVISIBLE = re.compile(
    "[\u00ad\u0300-\u036f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e01ef]"
)

_HIDING = re.compile(
    "[A-Za-z0-9$@][\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+[A-Za-z0-9]"
    "|[\u202d\u202e]"  # from here on the reader sees the text in another order than a machine
    "|(?<!\U0001f3f4)(?<![\U000e0020-\U000e007e])[\U000e0001-\U000e007f]"  # unseen letters; a flag has them too
)
_LABEL = r"(?:very |strong(?:ly)? |extremely )?(?:bullish|bearish|positive|negative|neutral)"
_PREFIX = re.compile(
    rf"\W{{0,8}}(?:(?:sentiment|label|rating|class|score|answer|verdict)\W{{1,4}})?{_LABEL}"
    r"(?:\W{0,3}(?:[:|=>]|->)|[\])}])",
    re.IGNORECASE,
)
_ORDERS = re.compile(
    r"\b(?:ignore|ignoring|disregard|forget|override)\b.{0,24}"
    r"\b(?:above|previous|prior|preceding|earlier|foregoing|instructions?|prompts?|headline|context)\b"
    r"|\b(?:new|system|following) (?:instructions?|prompt)\b"
    r"|\b(?:classif(?:y|ied)|label(?:led)?|rate|score|treat|tag|respond|answer|reply|output|return)\b"
    rf".{{0,24}}\b(?:as|with|:)\W{{0,3}}{_LABEL}\b"
    rf"|\b(?:label|classification|correct (?:label|answer|sentiment))\W{{0,2}}(?:is\b|:|=)\W{{0,3}}{_LABEL}\b",
    re.IGNORECASE,
)
_ORDER_WORDS: Final = (
    "ish",
    "itive",
    "ative",
    "eutral",
    "nore",
    "nstruction",
    "rompt",
    "isregard",
    "verride",
    "forget",
)


def normalise(text: str) -> str:
    """The normal form of a text; applying it twice changes nothing.

    >>> normalise("Buy <b>Вitсоin</b> &amp; hold\\u200b!")
    'Buy Bitcoin & hold!'
    """
    if len(text) > TEXT_CHARS_MAX:
        text = text[:TEXT_CHARS_MAX]
    if "\ufe0f" in text:
        text = text.replace("\ufe0f", "")  # only the commonest of the invisible: it comes with every second emoji
    if "<" not in text and "&" not in text and _is_plain(text):
        return _single_spaces(text)
    for _ in range(ROUNDS_MAX):
        before, text = text, _round(text)
        unsettled = "&" in text or "<" in text or not unicodedata.is_normalized("NFKC", text)
        if text == before or not unsettled:
            break
    return text


def _round(text: str) -> str:
    text = _CONTROL.sub("", text)
    if "&" in text:
        text = _CONTROL.sub("", html.unescape(text))
    if "<" in text:
        text = _TAG.sub(" ", _UNREAD.sub(" ", _without_comments(text)))
    if not text.isascii():
        if not unicodedata.is_normalized("NFKC", text):
            text = unicodedata.normalize("NFKC", text)[:TEXT_CHARS_MAX]  # one sign may stand for eighteen
        text = _INVISIBLE.sub("", text)
        text = in_latin(text)
    return _single_spaces(text)


def _without_comments(text: str) -> str:
    """Up to the last end of a comment only: each one begun after it would be searched to the end of the text."""
    end = text.rfind("-->") + 3
    return _COMMENT.sub(" ", text[:end]) + text[end:] if end > 2 else text


def _is_plain(text: str) -> bool:
    """Whether nothing but white space can change in a text without ``<`` and ``&``: the quick way for most posts."""
    if text.isascii():
        return text.isprintable() or not _CONTROL.search(text)
    if _CONTROL.search(text):
        return False
    odd = "".join(_ODD.findall(text))
    return _is_plain_cached(odd) if len(odd) <= _CACHED_CHARS else _is_plain_odd(odd)


def _is_plain_odd(odd: str) -> bool:
    """The same for what is not ASCII in a text; all marks that could join an ASCII letter count as invisible."""
    return unicodedata.is_normalized("NFKC", odd) and not _INVISIBLE.search(odd) and not may_pose(odd)


_is_plain_cached = lru_cache(maxsize=16_384)(_is_plain_odd)


def _single_spaces(text: str) -> str:
    if "  " not in text and text.isprintable() and text[:1] != " " != text[-1:]:
        return text  # nothing printable but the blank is white space
    return " ".join(text.split())


def tricks(text: str, normal: str | None = None) -> int:
    """What a raw text does to be read otherwise than it looks: bits of `data.facts.FLAGS`.

    Parameters
    ----------
    text : as it came, before `normalise`.
    normal : its normal form where the caller has it already.

    Returns
    -------
    int
        ``HIDDEN_MARKS``: invisible marks inside a word, overridden reading direction, unseen tag letters.
        ``LOOK_ALIKES``: letters of another script posing as Latin ones.
        ``PREFIXED``: a label before the text ("BULLISH:") or an instruction to whoever labels it ("ignore the above").

    >>> tricks("BULLISH: Вitcoin falls") == PREFIXED | LOOK_ALIKES
    True
    """
    text = text[:TEXT_CHARS_MAX]
    normal = normalise(text) if normal is None else normal
    found = PREFIXED if _is_prefixed(normal) else 0
    if not text.isascii() or "&" in text:
        seen = html.unescape(text) if "&" in text else text
        if _HIDING.search(seen):
            found |= HIDDEN_MARKS
        if has_look_alikes(_INVISIBLE.sub("", unicodedata.normalize("NFKC", seen))):
            found |= LOOK_ALIKES
    return found


def _is_prefixed(normal: str) -> bool:
    lower = normal.lower()
    if not any(word in lower for word in _ORDER_WORDS):
        return False
    return _PREFIX.match(normal) is not None or _ORDERS.search(normal) is not None


def text_key(normal: str) -> bytes:
    """First 16 bytes of the SHA-256 of a normalised text: the name under which its score is cached."""
    return hashlib.sha256(normal.encode("utf-8", "replace")).digest()[:16]
