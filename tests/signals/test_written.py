"""Signals from text: those one may type in a strategy, and nothing that runs."""

import pytest

from data.errors import InputError
from signals import Attention, Mood, Technical, ZScore
from signals.written import read_signal, signal_classes


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Mood", Mood()),
        ("mood", Mood()),
        (" MOOD() ", Mood()),
        ("Mood('12h')", Mood("12h")),
        ("mood(half_life=12, prior=2.0, seen=(-0.5, 0.5))", Mood(12, prior=2.0, seen=(-0.5, 0.5))),
        ("Attention(every='4h', coin='*')", Attention(every="4h", coin="*")),
        ('ZScore("exchange_netflow", window="7d")', ZScore("exchange_netflow", window="7d")),
        ('Technical("RSIIndicator", window=14)', Technical("RSIIndicator", window=14)),
    ],
)
def test_what_one_types_is_what_one_gets(text: str, wanted: object) -> None:
    assert read_signal(text) == wanted


def test_every_signal_is_read_back_from_what_it_prints() -> None:
    for signal in (Mood(7.5, min_weight=3.0), Attention("3d", max_age="never"), ZScore("x", window="7d")):
        assert read_signal(repr(signal)) == signal
    assert {"Mood", "MoodChange", "Close", "Technical", "Given"} <= set(signal_classes())
    assert not {"Signal", "OwnSignal"} & set(signal_classes())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Moood", "no such signal. Did you mean Mood\\? There are "),
        ("Zzz()", "no such signal. There are .*Mood"),
        ("", "not a signal. Write it as in a strategy"),
        ("Mood(", "not a signal"),
        ("1 + 1", "not a signal"),
        ("Mood() + Close()", "not a signal"),
        ("signals.Mood()", "not a signal"),
        ("Mood(half_life=__import__('os').getcwd())", "not a signal"),
        ("Mood(**{'half_life': '6h'})", "not a signal"),
        ("Mood(*['6h'])", "not a signal"),
        ("Mood(length='6h')", "not the arguments of this signal. It is Mood\\(half_life"),
        ("Mood('6h', '7h')", "not the arguments of this signal"),
        ("EMA()", "not the arguments of this signal. It is EMA\\(window"),
        ("Mood('6 parsecs')", "half_life.*not a duration"),
        ("Mood\0", "not a signal"),
        ("(" * 2000, "not a signal"),
    ],
)
def test_what_is_none_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_signal(text)
