"""JSON objects that carry a hash of themselves: one wrong letter on the disk is an error and not a figure."""

from __future__ import annotations

import hashlib
from typing import Final

_SEAL: Final = ', "seal": "'


def seal(body: str) -> str:
    """The text of a JSON object that isn't empty, with the hash of that text as its last key."""
    return f'{body[:-1]}{_SEAL}{_hash(body)}"}}'


def check_seal(text: str) -> None:
    """Raise ValueError when a text isn't, letter by letter, what `seal` made."""
    body = text.rpartition(_SEAL)[0] + "}"
    if text != seal(body):
        raise ValueError("it doesn't match its own hash")


def _hash(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
