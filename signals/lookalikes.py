"""Letters of other scripts that look like Latin ones, and when a word of them is read as Latin.

The twins follow the Unicode table of confusable characters (UTS 39), for the scripts whose letters are in common fonts;
NFKC has already made full-width, circled, superscript and mathematical letters plain.

The rule: a word that mixes scripts becomes Latin when each foreign letter in it has a twin, rough ones included
("вitcoin", "тoken"). A word of twins alone ("ВТС", "сор") becomes Latin unless the text is written in another script,
that is, Latin words don't outnumber those with letters that no Latin letter looks like: Russian stays Russian.
"""

from __future__ import annotations

import re
from typing import Final

_TWINS: Final = (
    # Cyrillic, Greek, Armenian, Coptic
    ("АВЕЅІЈКМНОРСТУХҮԌԚԜӀѴЬасеһіјӏорԛѕуүѵԝхԁѡҽқҝ", "ABESIJKMHOPCTYXYGQWIVbacehijlopqsyyvwxdwekk"),
    ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϺͿϜαικνορτυχγϳ", "ABEZHIKMNOPTYXMJFaikvoptuxyj"),
    ("ՍՏՕաԁգզհոռսցքօյ", "USOwdqqhnnugfoj"),
    ("ⲎⲒⲔⲘⲚⲞⲢⲤⲦⲨⲬⲟⲣⲥ", "HIKMNOPCTYXopc"),
    # Cherokee, Canadian syllabics, Lisu: the last two are "fonts" of social networks
    ("ᎠᎡᎢᎥᎪᎫᎬᎳᎷᎻᎽᏀᏂᏃᏏᏒᏔᏕᏙᏚᏞᏟᏢᏦᏳᏴᴦ", "DRTiAJEWMHYGhZbRWSVSLCPKGBr"),
    ("ᐯᑌᑭᑯᑲᒍᒪᕼᖇᖯᖴᗅᗞᗪᗰᗷᑕᘜᗩᗝᑎ", "VUPdbJLHRbFADDMBCGAON"),
    ("ꓐꓑꓒꓓꓔꓖꓗꓙꓚꓜꓝꓟꓠꓡꓢꓣꓦꓧꓪꓫꓬꓮꓰꓲꓳꓴ", "BPDDTGKJCZFMNLSRVHWXYAEIOU"),
    # Latin itself: small capitals, phonetic letters, letters with a stroke
    ("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ", "ABCDEFGHIJKLMNOPQRSTUVWYZ"),
    ("ɑɡɩɪꭵɣʋɯᶃᶌƄƖǀꞲᴑꬲꬵꬽꭎꭒꭚ", "agiIiyvwgvbllJoefouuy"),
    ("ȺɃȻĐƉÐɆǤĦƗɈŁØƤŦɎƵƀȼđɇǥħɨɉłøŧɏƶ", "ABCDDDEGHIJLOPTYZbcdeghijlotyz"),
)
_PHONETIC: Final = _TWINS[-2][0]
_ROUGH: Final = ("вгикмнптшяьЯИПЄєՇտիηςσωεΞΣΛ", "brukmhntwRbRNneeSuhncoweEEA")
"""Twins only beside Latin letters in one word: alone they are what they look like to a reader of their script."""

_PLAIN_LETTERS: Final = {
    chr(start + at): chr(ord("A") + at) for start in (0x1F150, 0x1F170) for at in range(26)
}  # white on black, round and square: NFKC leaves them
_TURKISH: Final = {"İ": "I", "ı": "i"}  # for one lower case of each letter; no trick

CONFUSABLES: Final = {
    **{twin: latin for twins, latins in reversed(_TWINS) for twin, latin in zip(twins, latins, strict=True)},
    **_PLAIN_LETTERS,
    **_TURKISH,
}
_TO_LATIN = str.maketrans(CONFUSABLES)
_TO_LATIN_ROUGHLY = str.maketrans({**dict(zip(*_ROUGH, strict=True)), **CONFUSABLES})

_SCRIPTS: Final = "\u0370-\u03ff\u0400-\u052f\u0531-\u0587\u13a0-\u13ff\u1400-\u167f\u2c80-\u2cff\ua4d0-\ua4ff"
_FOREIGN = re.compile(f"[{_SCRIPTS}{''.join(sorted(set(CONFUSABLES) - set(_PLAIN_LETTERS)))}]")  # none astral: fast
_PLAIN_SIGNS = re.compile("[\U0001f150-\U0001f189]")
_NATIVE = re.compile(f"[{_SCRIPTS}]")
_POSING = re.compile(f"[{_SCRIPTS}{_PHONETIC}]")
_LETTERS = re.compile(r"(?:[^\W\d_]|[₿฿]|[\U0001f150-\U0001f189])+")
_LATIN = re.compile("[A-Za-z]")
_COIN_SIGNS = re.compile("[₿฿](?=itcoin|tc|TC|ITCOIN)")


def in_latin(text: str) -> str:
    """A text in NFKC with its look-alike letters in Latin; applying it twice changes nothing.

    >>> in_latin("Вitcoin and ВТС, рост")
    'Bitcoin and BTC, рост'
    """
    if not may_pose(text):
        return text
    native = _is_native(text)
    return _LETTERS.sub(lambda match: _read(match[0], native), text)


def may_pose(text: str) -> bool:
    """Whether a text has any letter that `in_latin` may change."""
    return bool(_FOREIGN.search(text) or _PLAIN_SIGNS.search(text) or "₿" in text or "฿" in text)


def has_look_alikes(text: str) -> bool:
    """Whether letters of another script pose as Latin ones in a text (in NFKC); styled letters alone don't."""
    if text.isascii() or not _POSING.search(text) or _is_native(text):
        return False
    return any(_POSING.search(word) and _read(word, native=False) != word for word in _LETTERS.findall(text))


def _is_native(text: str) -> bool:
    """Whether words of another script are at least as many as those with a Latin letter."""
    latin = native = 0
    for word in _LETTERS.findall(text):
        if _LATIN.search(word):
            latin += 1
        elif _NATIVE.search(word.translate(_TO_LATIN)):
            native += 1
    return native >= latin and native > 0


def _read(word: str, native: bool) -> str:
    """The word as a reader of Latin takes it, or as it is; one foreign letter alone stands for itself."""
    if word.isascii():
        return word
    mixed = _LATIN.search(word) is not None
    if not mixed and (native or (len(word) == 1 and _NATIVE.search(word))):
        return word
    latin = _COIN_SIGNS.sub("B", word.translate(_TO_LATIN_ROUGHLY if mixed else _TO_LATIN))
    return word if _NATIVE.search(latin) else latin
