"""Near-duplicates: the estimate is unbiased, templates are found, nothing joins the future, memory is bounded."""

import random
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.duplicates import Clusters, First, cluster_id, signatures, similarity, template, turns
from signals.text import normalise

DRAW = random.Random(5)
WORDS = ["".join(DRAW.choices(string.ascii_lowercase, k=DRAW.randint(2, 9))) for _ in range(4000)]


def sentence(count: int = 20) -> str:
    return " ".join(DRAW.choices(WORDS, k=count))


def changed(text: str, count: int) -> str:
    words = text.split()
    for at in DRAW.sample(range(len(words)), count):
        words[at] = DRAW.choice(WORDS)
    return " ".join(words)


def exact(one: str, other: str) -> float:
    """Jaccard similarity by the definition: the slow twin."""
    a, b = ({template(text)[at : at + 4] for at in range(len(template(text)) - 3)} for text in (one, other))
    return len(a & b) / len(a | b)


def test_signatures_estimate_the_jaccard_similarity_without_bias() -> None:
    pairs = [(text, changed(text, DRAW.randrange(0, 12))) for text in (sentence() for _ in range(400))]
    firsts, seconds = signatures([one for one, _ in pairs]), signatures([other for _, other in pairs])
    gaps = [similarity(firsts[at], seconds[at : at + 1])[0] - exact(*pair) for at, pair in enumerate(pairs)]
    assert abs(np.mean(gaps)) < 0.01  # its standard error is .003
    assert np.std(gaps) < 0.08  # at most sqrt(.25 / 64) by theory


@given(st.lists(st.text(max_size=30), min_size=1, max_size=6))
def test_a_signature_is_the_texts_own_whatever_stands_beside_it(texts: list[str]) -> None:
    normals = [normalise(text) for text in texts]
    together = signatures(normals)
    assert all((together[at] == signatures([text])[0]).all() for at, text in enumerate(normals))


def test_a_template_is_one_cluster_named_after_its_first_text() -> None:
    text = "huge giveaway: send 1 ETH to the address in my bio and get 2 back, only today, only for the first 100"
    others = [
        text.replace("1 ETH", "5 ETH").replace("100", "250"),
        f"@friend{3} {text} https://x.example/a1",
        text.upper(),
        changed(text, 1),
    ]
    apart = [sentence() for _ in range(50)]
    clusters, opened = Clusters().place([text, *apart, *others], [0] * 55)
    assert set(clusters[51:]) == {clusters[0]} == {cluster_id(text)}
    assert len(set(clusters)) == len(opened) == 51
    assert [first.number for first in opened] == list(range(51))


def test_every_text_in_its_order_is_the_same_in_one_go_or_in_pieces() -> None:
    base = [sentence() for _ in range(30)]
    texts = [changed(DRAW.choice(base), DRAW.randrange(0, 3)) for _ in range(300)]
    whole, _ = Clusters().place(texts, list(range(300)))
    kept: list[First] = []
    pieces: list[int] = []
    for start in range(0, 300, 70):
        clusters, opened = Clusters(kept).place(texts[start : start + 70], list(range(start, min(300, start + 70))))
        pieces += clusters
        kept += opened
    assert pieces == whole
    assert 30 <= len(set(whole)) < 100


def test_a_text_never_joins_a_cluster_that_became_known_after_it() -> None:
    text = sentence()
    memory = Clusters()
    assert memory.place([text], [1000])[0] == [cluster_id(text)]
    earlier = changed(text, 1)
    clusters, opened = memory.place([earlier], [999])
    assert clusters == [cluster_id(earlier)] and len(opened) == 1
    assert memory.place([earlier, changed(earlier, 0)], [1000, 1001])[0] == [cluster_id(earlier)] * 2


def test_the_memory_forgets_the_oldest() -> None:
    memory = Clusters(kept=8)
    first = sentence()
    memory.place([first], [0])
    variant = changed(first, 1)
    assert memory.place([variant], [1])[0] == [cluster_id(first)]
    memory.place([sentence() for _ in range(8)], [2] * 8)
    assert memory.place([variant], [3])[0] == [cluster_id(variant)]


@pytest.mark.parametrize("text", ["", "a", "🚀", "\x00", "x" * 100_000, "比特币", "@only https://x.example"])
def test_odd_texts_have_a_cluster(text: str) -> None:
    clusters, _ = Clusters().place([text, text], [0, 1])
    assert clusters[0] == clusters[1] != 0


def test_nothing_to_place_is_no_error() -> None:
    assert Clusters().place([], []) == ([], [])
    assert signatures([]).shape == (0, 64)


def test_words_of_direction_tell_a_templates_meanings_apart() -> None:
    assert turns("BTC up 3% today") == turns("ETH up 7% today") != turns("BTC down 3% today")
    assert turns("it will not crash") != turns("it will crash")
    assert turns("buy BTC, sell ETH") != turns("sell BTC, buy ETH")
    assert turns("+4% on the day") != turns("-4% on the day")
    assert turns("don't buy") != turns("buy")
