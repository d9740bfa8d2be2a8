"""Facts: columns, payload hashes, conversion."""

from collections.abc import Callable

import pyarrow as pa
import pytest

from data.facts import KINDS, SCHEMAS, Bar, columns, conform, payloads, to_facts

Build = Callable[..., pa.Table]


def test_schemas_follow_the_columns() -> None:
    for kind in KINDS:
        assert tuple(SCHEMAS[kind].names) == columns(kind)
        assert columns(kind)[0] == "source"


def test_payload_is_stable(hourly: Build, written: Build) -> None:
    # Stored hashes are compared with new ones for years: these values may never change.
    assert hourly([100.0])["payload"].to_pylist() == [-9125464779298754233]
    assert written([("a", 5, "hello ₿")])["payload"].to_pylist() == [1644899604722447188]


def test_payload_sees_values_not_bits(hourly: Build) -> None:
    zero = hourly([1.0], volume=[0.0])["payload"]
    assert hourly([1.0], volume=[-0.0])["payload"] == zero
    assert hourly([1.0], volume=[1e-300])["payload"] != zero


def test_payload_counts_the_time_of_a_post_only(hourly: Build, written: Build) -> None:
    assert written([("a", 5, "x")])["payload"] != written([("a", 6, "x")])["payload"]
    assert hourly([1.0], first=0)["payload"] == hourly([1.0], first=1)["payload"]


def test_texts_do_not_run_together(written: Build) -> None:
    table = written([("k", 1, "ab")])
    one = {name: table[name] for name in table.column_names}
    other = {**one, "text": pa.array(["a"]), "author": pa.array(["b"])}
    assert payloads("posts", one)[0] != payloads("posts", other)[0]


def test_conform_orders_casts_and_refuses(hourly: Build) -> None:
    table = hourly([1.0, 2.0])
    shuffled = table.select(sorted(table.column_names)).drop_columns(["payload", "revision"])
    assert conform("bars", shuffled) == table
    with pytest.raises(ValueError, match="missing"):
        conform("bars", table.drop_columns(["close"]))
    with pytest.raises(ValueError, match="nulls"):
        conform("bars", table.set_column(9, "open", pa.array([1.0, None])))


def test_rows_as_nouns(hourly: Build) -> None:
    [bar] = to_facts("bars", hourly([3.0]))
    assert isinstance(bar, Bar)
    assert (bar.symbol, bar.close, bar.revision) == ("BTC/USDT", 3.0, 0)
