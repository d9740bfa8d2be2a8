"""A result's identity, its way to disk and back, its tables, its trials, and vectorbt's opinion of its fills."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backtest import archive
from backtest.archive import find_run, list_runs, load_run
from backtest.result import ORDERLOG, InputShare, Result, plain, run_id
from backtest.tries import count_in, count_trials, market_hash, record_trial
from data.errors import InputError, WorkError
from data.sealed import seal
from risk.records import ENTRY, EV_FUNDING, EVENT, EXIT, FILL, STOP_LOSS
from tests.backtest.results import HOUR_NS, START_NS, made_result


def assert_same(one: Result, other: Result) -> None:
    for field in dataclasses.fields(Result):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, np.ndarray):
            assert mine.dtype == theirs.dtype, field.name
            if mine.dtype.names:
                assert mine.tobytes() == theirs.tobytes(), field.name
            else:
                np.testing.assert_array_equal(mine, theirs, err_msg=field.name)
        else:
            assert mine == theirs, field.name


def test_an_id_reads_as_time_and_strategy() -> None:
    assert run_id(START_NS, "mood-flow", "ab12ffff") == "20240101-000000-mood-flow-ab12"
    assert run_id(START_NS, "../../ Böse\x00$(rm)", "00aa") == "20240101-000000-b-se-rm-00aa"
    assert run_id(START_NS, "", "00aa") == "20240101-000000-strategy-00aa"
    assert run_id(START_NS, "x" * 500, "00aa") == f"20240101-000000-{'x' * 40}-00aa"


def test_the_same_run_has_the_same_content_and_another_one_not() -> None:
    one, same, other = made_result(200), made_result(200), made_result(200, seed=8)
    assert one.content_hash() == same.content_hash() != other.content_hash()
    assert one.id == same.id != other.id
    assert one.trial_key() == same.trial_key() != made_result(200, params={"entry": 0.5}).trial_key()
    assert one.facts_hash() == other.facts_hash()


def test_settings_become_plain() -> None:
    told = {"a": (1, np.float64(2.0)), "b": float("inf"), "c": {"d": np.array([1, 2])}, "e": Path("x"), "f": None}
    assert plain(told) == {"a": [1, 2.0], "b": "inf", "c": {"d": [1, 2]}, "e": "x", "f": None}
    assert json.loads(json.dumps(plain(told))) == plain(told)


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_saved_and_loaded_it_is_the_same(var: Path, market: str) -> None:
    result = made_result(300, ("A/USDT", "B/USDT"), market=market)
    result.close[5, 0] = np.nan
    folder = result.save(var)
    assert folder == var / "runs" / result.id
    assert_same(Result.load(var, result.id), result)
    assert_same(Result.load(var, "latest"), result)


def test_a_run_without_signal_values_fills_or_events_is_saved_too(var: Path) -> None:
    result = made_result(
        50, fills=np.zeros(0, FILL), events=np.zeros(0, EVENT), orders=np.zeros(0, ORDERLOG), rows=None
    )
    result.save(var)
    assert_same(Result.load(var, "latest"), result)


def test_saving_twice_changes_nothing_and_a_twin_id_gets_longer(var: Path) -> None:
    result = made_result(100)
    first = result.save(var)
    stamp = (first / "result.json").stat().st_mtime_ns
    assert made_result(100).save(var) == first
    assert (first / "result.json").stat().st_mtime_ns == stamp
    twin = made_result(100, seed=9, id=result.id)
    second = twin.save(var)
    assert second != first and second.name.startswith(result.id)
    assert_same(load_run(var, second.name), twin)
    assert_same(load_run(var, first.name), result)


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_breaks_leaves_nothing(var: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> None:
    made_result(60).save(var)
    writes = []
    write = archive._write

    def breaking(path: Path, columns: Any) -> None:
        writes.append(path)
        if path.name == "fills.parquet":
            raise fault
        write(path, columns)

    monkeypatch.setattr(archive, "_write", breaking)
    with pytest.raises(WorkError if isinstance(fault, OSError) else KeyboardInterrupt, match="No space|"):
        made_result(60, seed=2).save(var)
    assert writes[-1].name == "fills.parquet"
    assert len(list((var / "runs").iterdir())) == 1
    assert len(list_runs(var)) == 1


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 0x10
    path.write_bytes(bytes(raw))


def _reword(key: str, value: Any, *, sealed: bool = True) -> Any:
    def change(path: Path) -> None:
        told = json.loads(path.read_text())
        assert told[key] != value
        told[key] = value
        if sealed:
            del told["seal"]
        text = json.dumps(told)
        path.write_text(seal(text) if sealed else text)

    return change


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("bars.parquet", _cut), ("bars.parquet", _flip), ("fills.parquet", _flip), ("events.parquet", Path.unlink),
        ("decisions.parquet", lambda path: path.write_bytes(b"PAR1")), ("result.json", _cut),
        ("result.json", Path.unlink), ("result.json", lambda path: path.write_text("[]")),
        ("result.json", _reword("format", 99)), ("result.json", _reword("params", {"entry": 0.9})),
        ("result.json", _reword("symbols", ["A/USDT"])), ("result.json", _reword("inputs", [{"kind": "bars"}])),
        ("result.json", _reword("holds", [["a"]])), ("result.json", _reword("lengths", {})),
        ("result.json", _reword("trials", 9, sealed=False)), ("result.json", _reword("synthetic", False, sealed=False)),
        ("result.json", _reword("notes", ["all is well"], sealed=False)),
    ],
)  # fmt: skip
def test_a_damaged_run_is_an_input_error(var: Path, file: str, harm: Any) -> None:
    folder = made_result(400).save(var)
    harm(folder / file)
    with pytest.raises(InputError) as caught:
        load_run(var, folder.name)
    assert folder.name in str(caught.value)
    assert "Remove it" in str(caught.value) or "Make the run again" in str(caught.value)
    assert [row.id for row in list_runs(var)] == [folder.name]


def test_runs_are_found_by_the_start_of_their_id(var: Path) -> None:
    assert list_runs(var) == []
    with pytest.raises(InputError, match="tidegate backtest"):
        find_run(var, "latest")
    early, late = (
        made_result(50),
        made_result(50, seed=3, created_ns=START_NS + 900 * 24 * HOUR_NS, strategy="ema-cross"),
    )
    for result in (late, early):
        result.save(var)
    (var / "runs" / ".half-written.1").mkdir()
    (var / "runs" / "trials.tsv").write_text("")
    rows = list_runs(var)
    assert [row.id for row in rows] == [early.id, late.id]
    assert rows[0].total_return == pytest.approx(early.equity[-1] / 10_000.0 - 1.0)
    assert rows[1].strategy == "ema-cross" and rows[1].synthetic and not rows[1].fault
    assert find_run(var, "2025").name == early.id
    assert find_run(var, late.id[-4:]).name == late.id
    with pytest.raises(InputError, match="several runs"):
        find_run(var, "20")
    with pytest.raises(InputError, match=early.id):
        find_run(var, "1999")


def test_of_one_second_the_later_run_is_the_latest(var: Path) -> None:
    """Their names begin alike and go on by strategy."""
    for name, later_ns in (("zebra", 0), ("ant", 5_000_000)):
        made_result(50, created_ns=START_NS + later_ns, strategy=name).save(var)
    assert [row.strategy for row in list_runs(var)] == ["zebra", "ant"]
    assert load_run(var, "latest").strategy == "ant"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_exports_speak_in_words(tmp_path: Path, form: str) -> None:
    result = made_result(500, market="perp")
    paths = result.export(tmp_path / "out", form)
    assert [path.name for path in paths] == [f"{name}.{form}" for name in ("trades", "orders", "fills", "events")]
    read = pd.read_csv if form == "csv" else pd.read_parquet
    trades, orders, fills, events = (read(path) for path in paths)
    assert len(fills) == len(result.fills) and set(fills["symbol"]) <= set(result.symbols)
    assert len(trades) == len(result.trades()) and set(trades["side"]) == {"long", "short"}
    assert set(orders["state"]) == {"FILLED", "CANCELLED"} or set(orders["state"]) == {"FILLED"}
    assert set(fills["purpose"]) <= {"entry", "exit", "stop-loss"}
    assert {"refused", "funding"} <= set(events["kind"]) and "asset share" in set(events["rule_name"])
    times = pd.to_datetime(fills["time"], utc=True)
    assert (times.astype("datetime64[ns, UTC]").astype("int64") // 10**6 == fills["ns"] // 10**6).all()
    assert trades.loc[trades["open"], "exit_ns"].isna().all() and trades["open"].any()


def test_exports_fail_with_a_word(tmp_path: Path) -> None:
    result = made_result(50)
    with pytest.raises(InputError, match="form = 'xls'"):
        result.export(tmp_path, "xls")
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match="file"):
        result.export(tmp_path / "file", "csv")


def test_trials_are_counted_once_each_and_outlive_their_runs(var: Path) -> None:
    result = made_result(50)
    market = market_hash(result.inputs)
    assert count_trials(var, market) == 0
    assert [count_in(made_result(50), var) for _ in range(3)] == [1, 1, 1]
    assert count_in(made_result(50, params={"entry": 0.5}), var) == 2
    assert record_trial(var, market, "a sweep", 400) == 402
    assert record_trial(var, "another market", "x") == 1
    other_facts = [InputShare("bars", "X", "s", 1, 0, 1, "00", {})]
    assert count_in(made_result(50, inputs=other_facts), var) == 1
    with (var / "runs" / "trials.tsv").open("ab") as file:
        file.write(b"torn li\xff")
    assert count_trials(var, market) == 402
    assert count_in(made_result(50, params={"entry": 0.6}), var) == 403


def _hand_made() -> Result:
    """Two symbols, fees in the coin, two fills of one symbol in one bar, a sale that pays for a purchase in one bar."""
    fills = np.zeros(7, FILL)
    a, b = 0, 1
    rows = [
        # row, symbol, purpose, qty, price, fee rate
        (1, a, ENTRY, 50.0, 100.0, 0.001),
        (1, a, ENTRY, 48.0, 101.0, 0.001),  # the same bar again: all cash is spent
        (2, a, EXIT, -40.0, 103.0, 0.001),
        (2, b, ENTRY, 400.0, 10.0, 0.001),  # paid by the sale before it
        (3, a, STOP_LOSS, -57.902, 99.0, 0.001),
        (3, a, ENTRY, 20.0, 98.0, 0.0005),
        (4, b, EXIT, -399.6, 11.0, 0.001),
    ]
    held = np.zeros(2)
    cash, after = 10_000.0, []
    close = np.array([[100.0, 10.0], [102.0, 10.0], [101.0, 10.5], [97.5, np.nan], [99.0, 11.0], [100.0, 11.5]])
    for place, (row, symbol, purpose, qty, price, rate) in enumerate(rows):
        fee = abs(qty) * price * rate
        fee_base = qty * rate if qty > 0 else 0.0
        cash -= qty * price + (0.0 if fee_base else fee)
        held[symbol] += qty - fee_base
        told = {
            "ns": START_NS + row * HOUR_NS + place,
            "row": row,
            "order": place,
            "symbol": symbol,
            "purpose": purpose,
        }
        told |= {"qty": qty, "price": price, "fee": fee, "fee_base": fee_base, "held": held[symbol]}
        for name, value in told.items():
            fills[name][place] = value
        after.append((row, cash, held.copy()))
    assert cash > 0.0
    known = pd.DataFrame(close).ffill().to_numpy()
    equity = np.empty(6)
    for bar in range(6):
        money, has = next(((c, h) for row, c, h in reversed(after) if row <= bar), (10_000.0, np.zeros(2)))
        equity[bar] = money + has @ known[bar]
    result = made_result(6, ("A/USDT", "B/USDT"))
    return dataclasses.replace(result, fills=fills, close=close, equity=equity, events=np.zeros(0, EVENT), id="")


def test_vectorbt_keeps_the_same_books() -> None:
    """One test for all of it: importing vectorbt takes seconds."""
    hand = _hand_made()
    value = hand.to_vectorbt().value()
    assert len(value) == len(hand.close_ns) + 2  # bars 1 and 3 have a symbol that fills twice
    assert value.index.is_monotonic_increasing and value.index.is_unique
    at_close = value[pd.to_datetime(hand.close_ns, utc=True)]
    np.testing.assert_allclose(at_close.to_numpy(), hand.equity, rtol=1e-9)

    result = made_result(1500, ("A/USDT", "B/USDT", "C/USDT"))
    value = result.to_vectorbt().value()
    np.testing.assert_allclose(value[pd.to_datetime(result.close_ns, utc=True)].to_numpy(), result.equity, rtol=1e-9)
    assert len(result.to_vectorbt().orders.records) == len(result.fills) > 100

    perp = made_result(400, market="perp")
    with pytest.raises(InputError, match="without_funding"):
        perp.to_vectorbt()
    value = perp.to_vectorbt(spare_cash=50_000.0, without_funding=True).value()
    funding = perp.events[perp.events["kind"] == EV_FUNDING]
    paid = np.array([funding["observed"][funding["ns"] <= ns].sum() for ns in perp.close_ns])
    assert len(funding) and perp.held.min() < 0.0  # shorts too
    at_close = value[pd.to_datetime(perp.close_ns, utc=True)].to_numpy()
    np.testing.assert_allclose(at_close - 50_000.0 - paid, perp.equity, rtol=1e-9)

    bought = _hand_made()
    bought.fills["qty"][0] *= 4.0
    with pytest.raises(InputError, match="spare_cash"):
        bought.to_vectorbt()
    assert bought.to_vectorbt(spare_cash=20_000.0).init_cash == 30_000.0
