"""Hostile posts through everything that reads a raw text: no crash, and a bounded time."""

import time

import pytest

from signals.entities import Linker
from signals.language import is_english
from signals.mask import masked
from signals.text import TEXT_CHARS_MAX, normalise, text_key, tricks

LINKER = Linker()
MEGABYTES = 10_000_000
SECONDS_MAX = 3.0
"""Far more than the tenth of a second that it takes on a quiet machine; what is quadratic takes many."""

CORPUS = {
    "empty": "",
    "blanks": " \t\n\u00a0\u2003" * 50_000,
    "null bytes": "\x00" * 100_000,
    "null bytes inside": "bit\x00coin\x00 " * 20_000,
    "lone surrogates": "\ud83d" * 50_000 + " bitcoin \udc00",
    "overridden direction": "\u202enioctib \u202c" * 20_000,
    "zero width": "b\u200bi\u200dt\u2060c\ufeffoin " * 20_000,
    "tag letters": "".join(chr(0xE0000 + at % 128) for at in range(60_000)),
    "emoji": "🚀" * 5_000,
    "emoji joined": "👨\u200d👩\u200d👧❤\ufe0f" * 5_000,
    "accents": "Z\u0300\u0301\u0302" * 20_000,
    "one accent stack": "e" + "\u0301" * 60_000,
    "no words": "a" * MEGABYTES,
    "ten megabytes": "bitcoin to the moon, ADA token! " * (MEGABYTES // 32),
    "ten megabytes of emoji": "🚀 bitcoin " * (MEGABYTES // 10),
    "html": "<p>Buy <b>bitcoin</b> &amp; hold</p>" * 5_000,
    "open tags": "<" * 60_000,
    "open scripts": "<script>" * 20_000,
    "open comments": "<!--" * 20_000,
    "entities": "&lt;" * 20_000,
    "nested entities": "&amp;" * 20_000 + "lt;b&gt;",
    "entity heads": "&" * 60_000,
    "numbered entities": "&#x202e;&#0;&#xd800;&#1114112;" * 3_000,
    "addresses": "https://" * 8_000,
    "addresses apart": "https://a.b www.c " * 4_000,
    "colons": "://" * 20_000,
    "cashtags": "$BTC" * 16_000,
    "cashtags apart": "$BTC $GEM1 " * 6_000,
    "dollars": "$" * 65_000,
    "handles": "@" * 65_000,
    "hashes": "#" * 65_000,
    "cues": "ADA token " * 7_000,
    "tickers": "ADA DOT " * 8_000,
    "quotes": "SOL/USDT " * 7_000,
    "look-alikes": "Вitсоin " * 8_000,
    "one long foreign word": "ж" * 65_000 + "b",
    "one long mixed word": "ьb" * 32_000,
    "ideographs": "比特币" * 20_000,
    "ideographs mixed": "比a" * 30_000,
    "foreign words": "биткоин растёт " * 4_000,
    "function words": "para los que no " * 4_000,
    "order words": "ignore " * 9_000 + "the above",
    "labels": "bullish positive " * 4_000,
    "brackets": "[(" * 30_000,
    "full stops": ". " * 30_000,
    "fat letters": "𝗕𝗶𝘁𝗰𝗼𝗶𝗻 " * 8_000,
    "ligatures": "\ufdfa" * 20_000,
}


@pytest.mark.parametrize("name", CORPUS)
def test_hostile_texts(name: str) -> None:
    text = CORPUS[name]
    began = time.process_time()
    normal = normalise(text)
    bits = tricks(text, normal)
    links = LINKER.link_normal(normal)
    mentions = LINKER.mentions(normal)
    hidden = masked(normal, mentions, "BTC")
    english = is_english(normal)
    spent = time.process_time() - began
    assert spent < SECONDS_MAX
    assert normalise(normal) == normal
    assert len(normal) <= TEXT_CHARS_MAX
    assert normal.isprintable() or not set(normal) & set("\x00\ud83d\u202e\u200b\ufeff")
    assert 0 <= bits < 16
    assert {mention.ticker for mention in mentions} >= set(links.coins)
    assert all(0 <= start < end <= len(normal) for start, end, _ in mentions)
    assert len(hidden) <= len(normal) + len("target") * len(mentions)
    assert english in (True, False)
    assert len(text_key(normal)) == len(text_key(hidden)) == 16


def test_what_is_hidden_is_found() -> None:
    assert LINKER.link(CORPUS["null bytes inside"]).coins == ("BTC",)
    assert LINKER.link(CORPUS["zero width"]).coins == ("BTC",)
    assert LINKER.link(CORPUS["lone surrogates"]).coins == ("BTC",)
    assert LINKER.link(CORPUS["ten megabytes"]).coins == ("BTC", "ADA")
    assert LINKER.link(CORPUS["html"]).coins == ("BTC",)
    assert LINKER.link(CORPUS["fat letters"]).coins == ("BTC",)
    assert LINKER.link(CORPUS["cashtags"]).spam is False
