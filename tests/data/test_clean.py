"""Text from outside: what is stored of it holds nothing that harms a terminal, a page or a file."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from data.clean import clean_address, clean_name, clean_text


def test_what_a_person_would_read_is_kept() -> None:
    assert clean_text("  BTC\r\n\r\n to   the\tmoon  ") == "BTC\nto the moon"
    assert clean_text("I <3 $ETH & a < b > c") == "I <3 $ETH & a < b > c"
    assert clean_text("caf\u00e9 \U0001f680 \u200bzero width stays: the scorer flags it") != ""
    assert "\u200b" in clean_text("a\u200bb")


def test_markup_goes_and_entities_become_characters() -> None:
    page = "<p>Bitcoin &amp; <b>Ether</b> fell<br/>hard</p><script>alert(1)</script><!-- no --><style>p{}</style>"
    assert clean_text(page, html=True) == "Bitcoin & Ether fell\nhard"
    assert clean_text("&lt;script&gt;alert(1)&lt;/script&gt;up", html=True) == "up"
    assert clean_text("<scr<b>ipt>alert(1)</script>", html=True).find("<script") < 0


def test_marks_that_turn_or_hide_text_go() -> None:
    assert clean_text("a\u202eb\u2066c\u200fd\x1b[31me\x00f\ud800g") == "abcd[31mefg"


@given(st.text(max_size=200), st.booleans())
def test_nothing_harmful_comes_through(text: str, html: bool) -> None:
    found = clean_text(text, html=html, most=100)
    assert len(found) <= 100 and found == found.strip()
    for letter in found:
        assert letter == "\n" or unicodedata.category(letter) not in ("Cc", "Cs")
        assert letter not in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    assert clean_text(found, most=100) == found  # what is clean stays as it is


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_plain_text_is_only_trimmed(text: str) -> None:
    assert clean_text(text) == " ".join(text.split(" ")).strip() or "  " in text


@given(st.one_of(st.none(), st.integers(), st.binary(max_size=5), st.lists(st.text(max_size=3), max_size=2)))
def test_what_is_no_text_is_empty(value: object) -> None:
    assert clean_text(value) == "" and clean_address(value) == ""
    assert clean_name(value) == (str(value) if isinstance(value, int) else "")


def test_addresses_are_of_the_web() -> None:
    assert clean_address(" https://example.org/a?b=1 ") == "https://example.org/a?b=1"
    for text in (
        "javascript:alert(1)",
        "https://a b",
        "file:///etc/passwd",
        'https://x/"><b>',
        "https://x/" + "y" * 3000,
    ):
        assert clean_address(text) == ""
