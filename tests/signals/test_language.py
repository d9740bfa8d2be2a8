"""English or not: by script, then by function words, in doubt English."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.language import is_english
from signals.text import normalise


@pytest.mark.parametrize(
    "text",
    [
        "Bitcoin falls below 40k as traders flee",
        "BTC to the moon",
        "gm",
        "wen lambo ser, ngmi",
        "$BTC $ETH $SOL 🚀🚀🚀",
        "#Bitcoin #ビットコイン #仮想通貨",
        "@nayib_bukele El Salvador buys the dip",
        "Coinbase hires ex-Le Monde editor in La Paz",
        "naïve café owners accept BTC",
        "Luna Foundation Guard y u do this",
        "HODL",
        "USD: $13895 EUR: €11920",
        "The bitcoin of 比特币 and биткоин, said a trader",
        "",
        "🚀" * 50,
        "https://example.org/el/precio/del/bitcoin",
    ],
)
def test_english(text: str) -> None:
    assert is_english(normalise(text))


@pytest.mark.parametrize(
    "text",
    [
        "El precio del bitcoin sube y los bancos no lo entienden",
        "Feliz cumpleaños #Bitcoin",
        "O preço do bitcoin não para de subir",
        "Le prix du bitcoin dépasse les 14.000 dollars",
        "Bitcoin ist auf dem Weg nach oben",
        "Il prezzo di bitcoin non si ferma",
        "De laagste prijs voor #Bitcoin is op dit moment 11904 euro",
        "Bitcoin fiyatı bugün için çok önemli",
        "Harga bitcoin hari ini tidak akan turun",
        "BTC dziś już na 14k wskoczył, ale to nie koniec",
        "биткоин растёт, ну да",
        "比特币上涨 #BTC #Bitcoin",
        "ビットコインは上昇中です",
        "비트코인 상승",
        "البيتكوين يرتفع اليوم",
        "बिटकॉइन की कीमत बढ़ रही है",
    ],
)
def test_other_languages(text: str) -> None:
    assert not is_english(normalise(text))


@given(st.text(alphabet=st.characters(), max_size=60))
def test_any_text_has_an_answer(text: str) -> None:
    normal = normalise(text)
    assert is_english(normal) is is_english(normal)
    assert is_english("".join(letter for letter in normal if not letter.isalpha()))
