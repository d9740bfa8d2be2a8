"""Mentions map back to the text exactly, and masking hides a coin and nothing else."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.coins import Coin
from signals.entities import Linker, Mention
from signals.mask import masked
from signals.spacing import without_links
from signals.text import normalise

LINKER = Linker()

NAMES = {
    "BTC": ["bitcoin", "Bitcoin", "BTC", "$btc", "@Bitcoin", "BTCUSDT", "btc_usd", "#BTC"],
    "ETH": ["Ethereum", "ether", "$ETH", "ethusdt", "@ethereum"],
    "SOL": ["solana", "$SOL", "SOLUSDT", "@solana"],
    "BCH": ["bitcoin cash", "$BCH", "Bitcoin-Cash"],
}
FILLERS = ["up", "the", "TOKEN", "ok.", "ж", "比", "🚀", "é", "don't", "50%", "naïve", "—", "...", "İж", "ß"]
GLUE = [" ", ", ", "/", " (", "'s ", "-", " 🚀", "比", "、", "。", "\u0301 "]

pieces = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(FILLERS), st.sampled_from(sorted(sum(NAMES.values(), [])))), st.sampled_from(GLUE)
    ),
    max_size=14,
)


def sentence(parts: list[tuple[str, str]]) -> str:
    return normalise("".join(word + glue for word, glue in parts))


def bare(text: str) -> str:
    """Lower case without accents, the words between single spaces, as a reader would look for a name."""
    text = "".join(letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter))
    return f" {' '.join(re.findall(r'[a-z0-9_$@]+', text.lower()))} "


@given(pieces)
def test_spans_lie_on_words(parts: list[tuple[str, str]]) -> None:
    text = sentence(parts)
    mentions = LINKER.mentions(text)
    reached = 0
    for start, end, ticker in mentions:
        assert reached <= start < end <= len(text)
        assert bare(text[start:end]).strip() in {bare(name).strip() for name in NAMES[ticker]}
        assert not re.match(r"[A-Za-z0-9_]", text[start - 1 : start])
        assert not re.match(r"[A-Za-z0-9_]", text[end : end + 1])
        reached = end
    assert {mention.ticker for mention in mentions} == set(LINKER.link_normal(text).coins)


@given(pieces)
def test_a_masked_text_names_no_coin(parts: list[tuple[str, str]]) -> None:
    text = sentence(parts)
    mentions = LINKER.mentions(text)
    for coin in ("*", *(mention.ticker for mention in mentions)):
        hidden = masked(text, mentions, coin)
        assert not any(bare(name) in bare(hidden) for names in NAMES.values() for name in names)
        assert LINKER.mentions(hidden) == ()


@given(pieces)
def test_the_rest_of_the_text_is_untouched(parts: list[tuple[str, str]]) -> None:
    text = sentence(parts)
    mentions = LINKER.mentions(text)
    coin = mentions[0].ticker if mentions else "BTC"
    rest = text
    for start, end, _ in reversed(mentions):
        rest = rest[:start] + "\0" + rest[end:]
    found = iter(mentions)
    expected = re.sub("\0", lambda _: "target" if next(found).ticker == coin else "other", rest)
    assert masked(text, mentions, coin) == " ".join(expected.split())


@given(st.text(alphabet=st.characters(), max_size=60))
def test_any_text_has_mentions_of_its_links(text: str) -> None:
    normal = normalise(f"Bitcoin {text} @solana")
    mentions = LINKER.mentions(normal)
    assert {mention.ticker for mention in mentions} == set(LINKER.link_normal(normal).coins)
    assert "\0" not in masked(normal, mentions, "BTC")


@pytest.mark.parametrize(
    ("text", "coin", "expected"),
    [
        ("Bitcoin's up, ethereum down", "BTC", "target's up, other down"),
        ("Bitcoin's up, ethereum down", "ETH", "other's up, target down"),
        ("Bitcoin's up, ethereum down", "*", "target's up, target down"),
        ("Bitcoin's up, ethereum down", "SOL", "other's up, other down"),
        ("SOL/USDT is fine", "SOL", "target/USDT is fine"),
        ("$SOL rises, but who needs SOL", "SOL", "target rises, but who needs target"),
        ("$NEAR is near the top", "NEAR", "target is near the top"),
        ("BCH is no bitcoin", "BCH", "target is no other"),
        ("bitcoin cash is BCH", "BCH", "target is target"),
        ("BTC https://t.co/btc-up", "BTC", "target"),
        ("up and away", "*", "up and away"),
        ("Terra Luna 2.0 airdrop", "LUNA", "target airdrop"),
        ("two Shiba Inu Coins", "SHIB", "two target Coins"),
        ("", "BTC", ""),
    ],
)
def test_masks(text: str, coin: str, expected: str) -> None:
    assert masked(text, LINKER.mentions(text), coin) == expected


def test_names_that_share_a_word_share_its_mention() -> None:
    names = {"AAA": Coin("AAA", "tag", names=("red moon",)), "BBB": Coin("BBB", "tag", names=("moon dust",))}
    linker = Linker(names)
    text = "the red moon dust fell"
    mentions = linker.mentions(text)
    assert mentions == (Mention(4, 12, "AAA"), Mention(13, 17, "BBB"))
    assert masked(text, mentions, "BBB") == "the other target fell"


def test_spans_after_web_addresses_and_foreign_signs() -> None:
    text = "see https://a.example/x?btc 比特 🚀🚀 — Ethereum:https://t.co/q, “$btc”"
    assert LINKER.mentions(text) == (Mention(36, 44, "ETH"), Mention(62, 66, "BTC"))
    assert [text[start:end] for start, end, _ in LINKER.mentions(text)] == ["Ethereum", "$btc"]
    assert len(without_links(text)) == len(text)
