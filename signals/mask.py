"""A post as one coin sees it: the coin asked for becomes "target", every other coin "other".

So one text gives each of its coins a score of its own, and the model can't use what it has read about a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from signals.entities import Mention
from signals.spacing import without_links

MARKET_COIN: Final = "*"
"""Asks for the market as a whole: every coin is the target."""

TARGET: Final = "target"
OTHER: Final = "other"


def masked(normal_text: str, mentions: Sequence[Mention], coin: str) -> str:
    """A normalised text with its coins masked, single spaces, web addresses left out (they would name the coin).

    Parameters
    ----------
    normal_text : the text in normal form (`signals.text.normalise`).
    mentions : spans in that text, sorted and apart from each other (`signals.entities.Linker.mentions`).
    coin : the ticker asked for, or `MARKET_COIN`.

    >>> masked("BTC up, ETH's down", (Mention(0, 3, "BTC"), Mention(8, 11, "ETH")), "ETH")
    "other up, target's down"
    """
    text = without_links(normal_text)
    pieces: list[str] = []
    reached = 0
    for start, end, ticker in mentions:
        pieces += text[reached:start], TARGET if coin in (ticker, MARKET_COIN) else OTHER
        reached = end
    pieces.append(text[reached:])
    return " ".join("".join(pieces).split())
