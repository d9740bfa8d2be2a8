"""One normal form for every text that is linked, hashed or scored: what a reader sees, without what is hidden in it.

In this order: cut to `TEXT_CHARS_MAX`, lone surrogates and control characters out, HTML entities and tags out, NFKC,
invisible characters (zero width, bidi, variation selectors, stray accents) out, look-alike letters to Latin, white
space to single spaces. A word is mapped to Latin only when every foreign letter in it has a Latin twin, so that Russian
and Greek words stay what they are while a Cyrillic "ВТС" becomes "BTC".
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from typing import Final

TEXT_CHARS_MAX: Final = 65_536
"""Longer posts are cut here: a model reads 512 tokens, and a hostile ten-megabyte post costs no more than a book."""

ROUNDS_MAX: Final = 8
"""An entity may hide a tag, and an entity another entity; nesting deeper than this is left as it is."""

_PLAIN = re.compile(r"[\x20-\x25\x27-\x3b\x3d-\x7e]*")  # printable ASCII but & and <
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_TAG = re.compile(r"<!--.*?-->|</?[A-Za-z][^<>]*>", re.DOTALL)
_UNREAD = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|$)", re.DOTALL | re.IGNORECASE)
_INVISIBLE = re.compile(
    "[\u00ad\u0300-\u036f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e01ef]"
)

# Twins of Latin letters, by look. NFKC has already turned full-width, circled and mathematical letters into plain ones.
_CYRILLIC = dict(zip("АВЕЅІЈКМНОРСТУХҮԌԚԜӀасеһіјӏорԛѕуүѵԝхԁѡ", "ABESIJKMHOPCTYXYGQWIacehijlopqsyyvwxdw", strict=True))
_GREEK = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαικνορτυχϲγ", "ABEZHIKMNOPTYXaikvoptuxcy", strict=True))
_OTHER = dict(zip("İıɑɡɩƖℓᴀʙᴄᴅᴇɢʜᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢօսոհ", "IiagiIlABCDEGHJKLMNOPRTUVWYZounh", strict=True))
CONFUSABLES: Final = {**_CYRILLIC, **_GREEK, **_OTHER}
_TO_LATIN = str.maketrans(CONFUSABLES)
_FOREIGN_LETTER = re.compile("[\u0370-\u03ff\u0400-\u052f\u0531-\u0587" + "".join(_OTHER) + "]")
_WORD = re.compile(r"[^\W\d_]+")


def normalise(text: str) -> str:
    """The normal form of a text; applying it twice changes nothing.

    >>> normalise("Buy <b>Вitсоin</b> &amp; hold\\u200b!")
    'Buy Bitcoin & hold!'
    """
    if len(text) > TEXT_CHARS_MAX:
        text = text[:TEXT_CHARS_MAX]
    if _PLAIN.fullmatch(text):
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
        text = _TAG.sub(" ", _UNREAD.sub(" ", text))
    if not text.isascii():
        if not unicodedata.is_normalized("NFKC", text):
            text = unicodedata.normalize("NFKC", text)
        text = _INVISIBLE.sub("", text)
        if _FOREIGN_LETTER.search(text):
            text = _WORD.sub(_latin, text)
    return _single_spaces(text)


def _latin(match: re.Match[str]) -> str:
    """The word in Latin letters when all its foreign letters have twins, else the word as it is."""
    word = match[0]
    if word.isascii():
        return word
    mapped = word.translate(_TO_LATIN)
    foreign = any("\u0370" <= letter <= "\u0587" for letter in mapped)
    return word if foreign else mapped


def _single_spaces(text: str) -> str:
    return " ".join(text.split())


def text_key(normal: str) -> bytes:
    """First 16 bytes of the SHA-256 of a normalised text: the name under which its score is cached."""
    return hashlib.sha256(normal.encode("utf-8", "replace")).digest()[:16]
