"""Metrics from files: stamp, interval, lag and coin are stated, or it is an error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError, InputErrors
from data.files import ImportOptions, ImportReport, import_file, parse_values
from data.intake_posts import FUTURE
from data.store import Store
from data.times import DAY_NS, HOUR_NS, parse_time

NOW = parse_time("2024-06-01")
DAY = parse_time("2024-01-01")
Take = Callable[..., ImportReport]
STATED: dict[str, Any] = {"stamp": "start", "interval": "1d", "lag": "6h", "coin": "BTC", "source": "chain"}


@pytest.fixture
def take(store: Store, tmp_path: Path) -> Take:
    def run(text: str, **options: Any) -> ImportReport:
        path = tmp_path / "wide.csv"
        path.write_text(text)
        return import_file(store, "metrics", path, ImportOptions(**options), NOW)

    return run


WIDE = "date,In,Out,a-b,Note\n2024-01-01,5,3,1,x\n2024-01-02,7,,2,y\n2024-01-03,9,4,nan,z\n"


def test_a_day_is_known_after_its_end_and_lag(take: Take, store: Store) -> None:
    report = take(WIDE, **STATED, values=parse_values(["In"]))
    frame = store.metrics(["In"], ["BTC"])
    assert frame["event_ns"].tolist() == [DAY + DAY_NS, DAY + 2 * DAY_NS, DAY + 3 * DAY_NS]
    assert frame["known_ns"].tolist() == [DAY + n * DAY_NS + 6 * HOUR_NS for n in (1, 2, 3)]
    assert frame["value"].tolist() == [5, 7, 9]
    assert any("ends 2024-01-02 00:00Z is known at 2024-01-02 06:00Z (assumed_lag)" in note for note in report.notes)
    assert report.series == ("In BTC",)


@pytest.mark.parametrize(("stamp", "event"), [("end", DAY), ("published", DAY)])
def test_other_stamps(take: Take, store: Store, stamp: str, event: int) -> None:
    take(WIDE, stamp=stamp, lag="0s", coin="*", values={"In": "In"})
    frame = store.metrics(["In"], ["*"])
    assert (frame["event_ns"][0], frame["known_ns"][0]) == (event, event)


def test_everything_unstated_is_said_at_once(take: Take, store: Store) -> None:
    with pytest.raises(InputErrors) as caught:
        take(WIDE, values={"In": "In"})
    assert [error.key for error in caught.value.errors] == ["--stamp", "--lag", "--coin"]
    for missing, words in {"lag": "--lag", "interval": "--interval", "stamp": "--stamp", "coin": "--coin"}.items():
        with pytest.raises(InputError, match=words):
            take(WIDE, values={"In": "In"}, **{key: value for key, value in STATED.items() if key != missing})
    with pytest.raises(InputError, match="which columns are the metrics.*In, Out, a-b, Note"):
        take(WIDE, **STATED)
    assert not store.root.exists()


def test_an_interval_shorter_than_the_rows_would_leak(take: Take) -> None:
    with pytest.raises(InputError, match="rows are 1d apart"):
        take(WIDE, **{**STATED, "interval": "1h"}, values={"In": "In"})


def test_columns_added_and_subtracted(take: Take, store: Store) -> None:
    report = take(WIDE, **STATED, values=parse_values(["net=In-Out, a-b", "odd = a-b - In + Out"]))
    assert store.metrics(["net"])["value"].tolist() == [2, 5]
    assert store.metrics(["a-b"])["value"].tolist() == [1, 2]
    assert store.metrics(["odd"])["value"].tolist() == [-1]
    assert report.empty == 1 + 1 + 2
    assert report.quarantined == {}
    for wrong in ("In*Out", "In-", "In Out", "In-Nothing", "__import__('os')"):
        with pytest.raises(InputError, match="can't read"):
            take(WIDE, **STATED, values={"x": wrong})
    for text in ("=In", "x=", ","):
        with pytest.raises(InputError, match="not a metric"):
            parse_values([text])


def test_bad_cells_are_quarantined(take: Take, store: Store) -> None:
    text = "time,v\n1704067200,1\n1704153600,many\n1704240000,1e999\n1704326400,4\n1893456000,5\n"
    report = take(text, **STATED, values={"v": "v"})
    assert report.added == 2
    assert report.quarantined == {"v is not a number": 1, "value is not finite": 1, FUTURE: 1}
    [line] = store.catalog()
    assert (line.name, line.source, line.gaps, line.missing) == ("v BTC", "chain", 0, 0)
    assert sum(line.quarantined.values()) == 3


def test_long_files_and_coins_in_a_column(take: Take, store: Store) -> None:
    rows = [
        "time,metric,asset,value",
        *(f"1704067200,{row}" for row in ("flow,btc,1", "flow,eth,2", "fees,btc,3", ",btc,4")),
    ]
    text = "\n".join(rows)
    report = take(text, stamp="published", lag="1h", source="long")
    assert report.series == ("fees BTC", "flow BTC", "flow ETH")
    assert report.quarantined == {"no name": 1}
    assert store.metrics(["flow"], ["ETH"])["value"].tolist() == [2]


def test_a_restated_value_is_a_revision_known_when_it_came(take: Take, store: Store) -> None:
    take("date,v\n2024-01-01,1\n2024-01-02,2\n", **STATED, values={"v": "v"})
    report = take("date,v\n2024-01-01,1\n2024-01-02,5\n", **STATED, values={"v": "v"})
    assert (report.unchanged, report.revised) == (1, 1)
    frame = store.metrics(["v"])
    assert frame["value"].tolist() == [1, 2, 5]
    assert frame["known_ns"].tolist()[-1] == NOW
    assert take("date,v\n2024-01-02,5\n", **STATED, values={"v": "v"}).unchanged == 1


def test_vintages_bring_their_own_times(take: Take, store: Store) -> None:
    text = "date,v,released\n2024-01-01,1,2024-01-02T06:00Z\n2024-01-01,3,2024-01-05T06:00Z\n"
    stated = {key: value for key, value in STATED.items() if key != "lag"}
    report = take(text, **stated, values={"v": "v"}, columns={"known": "released"}, quality="vendor_pit")
    assert (report.added, report.revised) == (1, 1)
    frame = store.metrics(["v"])
    assert frame["known_ns"].tolist() == [parse_time("2024-01-02T06:00Z"), parse_time("2024-01-05T06:00Z")]
    assert set(frame["quality"]) == {"vendor_pit"}


def test_another_lag_is_not_believed_silently(take: Take, store: Store) -> None:
    take(WIDE, **STATED, values={"In": "In"})
    report = take(WIDE, **{**STATED, "lag": "30h"}, values={"In": "In"})
    assert report.unchanged == 3
    assert any("another known time" in note for note in report.notes)
    store.forget("metrics", {"source": "chain", "name": "In"})
    assert take(WIDE, **{**STATED, "lag": "30h"}, values={"In": "In"}).added == 3
    assert store.metrics()["known_ns"].tolist()[0] == DAY + DAY_NS + 30 * HOUR_NS
