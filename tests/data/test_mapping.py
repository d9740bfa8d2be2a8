"""Somebody else's JSON as facts: paths, declared times, names of coins, and what is refused at once."""

import math
from dataclasses import replace
from typing import Any

import pytest

from data.errors import InputError
from data.feed import Gone, Reading, Spoilt, Written
from data.mapping import MappedOptions, Mapping
from data.paths import MISSING, read_path
from data.times import DAY_NS, HOUR_NS, parse_time
from data.vendor import VendorOptions

NOON_NS = parse_time("2025-10-09T12:00Z")
POSTS: dict[str, Any] = {"name": "v", "kind": "posts", "time": "t", "unit": "s", "key": "id", "text": "say"}
SERIES: dict[str, Any] = {"name": "v", "kind": "metrics", "time": "t", "unit": "s", "metric": "=tvl", "coin": "=BTC"}
READING: dict[str, Any] = {**SERIES, "value": "v"}


def read(told: dict[str, Any], body: Any, **more: Any) -> Any:
    """Items of a body."""
    return Mapping(MappedOptions(**told)).read(body, **more)


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        ("", 7, [7]),
        ("a.b", {"a": {"b": None}}, [None]),
        ("a.0.b", {"a": [{"b": 1}]}, [1]),
        ("a[-1]", {"a": [1, 2]}, [2]),
        ("a.7", {"a": [1, 2]}, []),
        ("a.7", {"a": {"7": 1}}, [1]),
        ("*.x", {"k": {"x": 1}, "l": {"x": 2}, "m": 3}, [1, 2]),
        ("[*][0]", [[1, 2], [3], []], [1, 3]),
        ('a["b.c"].d', {"a": {"b.c": {"d": 5}}}, [5]),
        ("a.b", {"a": "text"}, []),
    ],
)
def test_paths_lead_where_they_say(text: str, value: Any, found: list[Any]) -> None:
    """Names, places, each; what isn't there is nothing, which isn't null."""
    path = read_path(text, key="k", many=True)
    assert list(path.each(value)) == found
    assert path.one(value) == (found[0] if found else MISSING)


@pytest.mark.parametrize(
    "text", [".a", "a.", "a..b", "a[", "a[b]", "a b. ]", "a.*b", "__import__('os')", "a" + ".a" * 16]
)
def test_paths_that_are_none_are_refused(text: str) -> None:
    """When they are read, with the place where it goes wrong."""
    with pytest.raises(InputError) as caught:
        read_path(text, key="value")
    assert caught.value.key == "value"


@pytest.mark.parametrize(
    ("unit", "told"),
    [
        ("s", 1_760_011_200), ("s", "1760011200"), ("s", 1760011200.0), ("ms", 1_760_011_200_000),
        ("us", 1_760_011_200_000_000), ("ns", "1760011200000000000"), ("iso", "2025-10-09T12:00:00Z"),
        ("iso", "2025-10-09T14:00:00.000+02:00"),
    ],
)  # fmt: skip
def test_times_are_what_they_are_declared_to_be(unit: str, told: Any) -> None:
    """Numbers, texts, ISO with a zone; exactly."""
    [item] = read({**POSTS, "unit": unit}, {"t": told, "id": 1, "say": "x"})
    assert math.isnan(item.followers)
    assert replace(item, followers=0.0) == Written("1", NOON_NS, "x", followers=0.0)


@pytest.mark.parametrize("told", [None, True, "soon", [], "NaN", 1e300, "2025-10-09T12:00:00"])
def test_times_that_cannot_be_read_are_set_apart(told: Any) -> None:
    """Never guessed; a time without a zone neither, unless it was declared to be UTC."""
    for unit in ("s", "iso"):
        [item] = read({**POSTS, "unit": unit}, {"t": told, "id": 1, "say": "x"})
        assert isinstance(item, Spoilt) and "time" in item.reason
    [item] = read({**POSTS, "unit": "iso", "utc": True}, {"t": "2025-10-09T12:00:00", "id": 1, "say": "x"})
    assert item.event_ns == NOON_NS


def test_posts() -> None:
    """Texts below each other, author, followers, address; deleted ones; those without key or text are set apart."""
    more = {"text": ["title", "body"], "html": True, "author": "by", "followers": "n", "link": "u", "deleted": "gone"}
    rows = [
        {
            "t": 1_760_011_200,
            "id": "a",
            "title": "Up",
            "body": "<p>and &lt;up&gt;</p>",
            "by": 7,
            "n": "12",
            "u": "https://x/",
        },
        {"id": 5, "gone": True},
        {"t": 1_760_011_200, "id": None, "title": "x"},
        {"t": 1_760_011_200, "id": "b", "title": 3},
        "text",
    ]
    first, second, *bad = read({**POSTS, **more, "items": "rows"}, {"rows": rows})
    assert (first.text, first.author, first.followers, first.url) == ("Up\nand", "7", 12.0, "https://x/")
    assert second == Gone("5")
    assert [type(item) for item in bad] == [Spoilt] * 3
    assert [item.reason for item in bad] == ["no key at id", "no text at title or body", "not an object"]
    [plain] = read(POSTS, {"t": 1, "id": "a", "say": "x"})
    assert math.isnan(plain.followers)


def test_values_of_series() -> None:
    """The end of the interval, our names of coins, names from the data, several values of a row."""
    row = {"t": 1_760_011_200, "v": "1.5", "w": 2, "what": "oi", "asset": "bitcoin"}
    assert read(READING, [row]) == [Reading("tvl", "BTC", NOON_NS, 1.5)]
    [item] = read({**READING, "stamp": "start", "interval": "1d"}, row)
    assert item.event_ns == NOON_NS + DAY_NS
    [item] = read({**READING, "stamp": "start", "interval": "1h"}, row, history=True, lag_ns=7, quality="vendor_pit")
    assert item == Reading("tvl", "BTC", NOON_NS + HOUR_NS, 1.5, NOON_NS + HOUR_NS + 7, "vendor_pit")
    named = {**READING, "metric": "what", "coin": "asset", "coins": {"bitcoin": "BTC"}}
    assert read(named, row) == [Reading("oi", "BTC", NOON_NS, 1.5)]
    mapping = Mapping(MappedOptions(**named))
    assert mapping.read({**row, "asset": "ether"}) == [] and mapping.others == 1
    several = {**READING, "metric": "", "value": "", "values": {"a": "v", "b": "w", "c": "x"}, "coin": "=*"}
    assert read(several, {**row, "x": None}) == [Reading("a", "*", NOON_NS, 1.5), Reading("b", "*", NOON_NS, 2.0)]
    for wrong in ({"v": None}, {"v": "much"}, {"v": True}, {"v": "inf"}):
        [item] = read(READING, {**row, **wrong})
        assert isinstance(item, Spoilt) and "number" in item.reason
    [item] = read({**READING, "coin": "asset"}, {**row, "asset": "not a coin"})
    assert isinstance(item, Spoilt)


def test_each_vendor_has_a_purse_of_its_own() -> None:
    """Unless two tables say that they share one."""
    assert MappedOptions(**POSTS).account == "v"
    assert MappedOptions(**{**POSTS, "account": "both"}).account == "both"


def test_where_items_have_to_be() -> None:
    """A list, one object, each of many; nothing there is not the same as none."""
    row = {"t": 1, "id": "a", "say": "x"}
    assert len(read(POSTS, [row, row])) == 2 and len(read(POSTS, row)) == 1
    assert len(read({**POSTS, "items": "*.row"}, {"k": {"row": row}, "l": {"row": row}})) == 2
    assert read({**POSTS, "items": "rows"}, {"rows": []}) == []
    assert read({**POSTS, "items": "rows"}, {"row": []}) is None


@pytest.mark.parametrize(
    ("told", "key"),
    [
        ({**POSTS, "key": ""}, "key"),
        ({**POSTS, "text": ()}, "text"),
        ({**POSTS, "time": ""}, "time"),
        ({**POSTS, "time": "a.."}, "time"),
        ({**POSTS, "time": "*.t"}, "time"),
        ({**POSTS, "value": "v"}, "value"),
        ({**SERIES}, "value"),
        ({**READING, "metric": "=Open Interest"}, "metric"),
        ({**READING, "coin": "=btc!"}, "coin"),
        ({**READING, "coins": {"bitcoin": "btc"}}, "coins"),
        ({**READING, "values": {"a": "b"}}, "values"),
        ({**READING, "stamp": "start"}, "interval"),
        ({**READING, "interval": "soon"}, "interval"),
        ({**READING, "text": "say"}, "text"),
    ],
)
def test_what_is_declared_wrongly_is_told_at_once(told: dict[str, Any], key: str) -> None:
    """When the configuration is read, with the key."""
    with pytest.raises(InputError) as caught:
        MappedOptions(**told)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"headers": {"Authorization": "Bearer s3cr3t"}}, "headers.Authorization"),
        ({"params": {"api_key": "s3cr3t"}}, "params.api_key"),
        ({"params": {"auth_token": "s3cr3t"}}, "params.auth_token"),
        ({"headers": {"X-Key": "{key}"}}, "headers.X-Key"),
        ({"secrets": {"key": "s3cr3t"}}, "secrets.key"),
        ({"secrets": {"KEY": "env:s3cr3t"}}, "secrets"),
        ({"url": "https://v.example/?token=s3cr3t"}, "url"),
        ({"url": "https://v.example/{key}/x", "secrets": {"key": "env:K"}}, "url"),
    ],
)
def test_secrets_that_stand_in_the_configuration_are_refused(more: dict[str, Any], key: str) -> None:
    """And the message doesn't repeat them."""
    with pytest.raises(InputError) as caught:
        VendorOptions(**{**POSTS, "url": "https://v.example/", **more})
    assert caught.value.key == key
    assert "s3cr3t" not in str(caught.value) or key == "secrets"
