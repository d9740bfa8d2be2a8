"""Text from outside, made harmless before it is stored: no mark-up, no control characters, no bidi marks, bounded.

Characters that hide something from a reader but do no harm to a terminal or a file (zero width, look-alikes) stay: the
scorer looks for them and flags the post.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Any, Final

CHARS_MAX: Final = 16_384
"""A longer post is cut here; a model reads 512 tokens."""

ADDRESS_MAX: Final = 2_048
NAME_MAX: Final = 256

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_UNREAD = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|$)", re.DOTALL | re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?(?:-->|$)|<!\[CDATA\[|\]\]>", re.DOTALL)
_BREAK = re.compile(r"<(?:br|/p|/div|/li|/h\d|/tr)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\s*\n\s*")
_ROUNDS = 4


def clean_text(value: Any, *, html: bool = False, most: int = CHARS_MAX) -> str:
    """What a person would read of a text; empty for what isn't text.

    Parameters
    ----------
    html : bool
        It is written in HTML: tags go, entities become characters. Plain text keeps its `<3`.
    most : int
        Characters kept.
    """
    if not isinstance(value, str):
        return ""
    if not html and len(value) <= most and value.isprintable() and "  " not in value:
        return value.strip()  # nothing of all that is in it: no control or bidi character is printable
    text = value[: 4 * most]
    if html:
        for _ in range(_ROUNDS):  # an entity may hide a tag
            stripped = _TAG.sub(" ", _BREAK.sub("\n", _COMMENT.sub(" ", _UNREAD.sub(" ", text))))
            plain = unescape(stripped)
            if plain == text:
                break
            text = plain
    text = _BIDI.sub("", _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
    return _LINES.sub("\n", _SPACES.sub(" ", text)).strip()[:most]


def clean_name(value: Any) -> str:
    """A name or a key on one line; empty for what isn't text or a whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return clean_text(value, most=NAME_MAX).replace("\n", " ")


def clean_address(value: Any) -> str:
    """A web address as it may be shown; empty when it isn't one."""
    if not isinstance(value, str):
        return ""
    text = _BIDI.sub("", _CONTROL.sub("", value)).strip()
    if not re.match(r"https?://[^\s<>\"']+$", text) or len(text) > ADDRESS_MAX:
        return ""
    return text
