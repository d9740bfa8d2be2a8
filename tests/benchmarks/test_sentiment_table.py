"""The sentiment table on tiny sets, with the lexicon as the model under test: its figures can be worked out by hand."""

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.sentiment_attacks import ATTACKS, attack_lines
from benchmarks.sentiment_judge import Judge
from benchmarks.sentiment_lines import PROBE_AIMS, held_out_lines, other_lines, probe_lines
from benchmarks.sentiment_table import main, show
from signals.models import resolve
from signals.scorer import open_scorer
from signals.text import normalise

GOOD, BAD, PLAIN = "a great happy win", "a terrible sad loss", "the table stands here"


def labelled(folder: Path) -> Path:
    """Sets of the right names: the lexicon is right on TFNS and wrong on one crypto headline in four."""
    base = [(GOOD, 1), (BAD, -1), (PLAIN, 0)]
    tfns = pd.DataFrame(base * 3, columns=["text", "label"])
    tfns.to_parquet(folder / "eval_tfns_valid.parquet")
    entities = tfns.assign(target="table", n_labels=[1] * 6 + [2] * 3)
    entities.to_parquet(folder / "eval_sentfin_entity.parquet")
    entities.to_parquet(folder / "train_finentity.parquet")
    crypto = pd.DataFrame([*base, (BAD, 1)] * 2, columns=["text", "label"])
    crypto["date"] = ["2021-06-30"] * 4 + ["2021-07-01"] * 4
    crypto.to_parquet(folder / "eval_cryptolin.parquet")
    return folder


@pytest.fixture(scope="module")
def judge() -> Judge:
    lexicon = open_scorer(resolve("vader"))
    return Judge(lexicon, lexicon, rounds=50)


def test_lines_of_the_sets(judge: Judge, tmp_path: Path) -> None:
    folder = labelled(tmp_path)
    lines = held_out_lines(judge, folder)
    assert [line.value for line in lines] == pytest.approx([1.0, 1.0, 1.0, 0.75, 7 / 9])
    assert [line.holds for line in lines] == [True, True, True, False, True]
    assert [line.rows for line in lines] == [9, 6, 3, 3, 4]
    assert all(line.low <= line.value <= line.high and line.vader == pytest.approx(line.value) for line in lines)
    assert [line.rows for line in other_lines(judge, folder)] == [6, 3, 3, 4]
    assert "TFNS validation" in show(lines) and "BELOW FLOOR" in show(lines)


def test_interval_draws_texts_not_rows(judge: Judge) -> None:
    right = [True] * 50 + [False] * 50
    apart = judge.interval(list(range(100)), lambda rows: sum(right[at] for at in rows) / len(rows))
    together = judge.interval([at // 25 for at in range(100)], lambda rows: sum(right[at] for at in rows) / len(rows))
    assert together[1] - together[0] > 2 * (apart[1] - apart[0])
    assert apart == judge.interval(list(range(100)), lambda rows: sum(right[at] for at in rows) / len(rows))


def test_probes_have_both_signs_and_enough_of_each_kind(judge: Judge) -> None:
    lines = probe_lines(judge)
    assert len(lines) == len(PROBE_AIMS)
    assert all(line.rows >= 45 and 0 < line.value < 1 for line in lines)
    assert min(line.rows for line in lines if line.floor) >= 60


def test_attacks_turn_only_what_was_caught(judge: Judge) -> None:
    lines = attack_lines(judge, pd.DataFrame({"text": [BAD, GOOD, "a terrible"]}))
    assert [line.title for line in lines] == list(ATTACKS)
    assert {line.rows for line in lines} == {2}
    by_name = {line.title: line for line in lines}
    assert by_name["look-alike letters"].value == 0.0  # the normal form undoes them
    assert by_name["prefix"].lower_is_better and by_name["prefix"].holds
    twins = ATTACKS["look-alike letters"]
    assert all(normalise(attack("Bitcoin exploit")) == "Bitcoin exploit" for attack in (twins[2], *twins[3]))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIDEGATE_REAL_DATA", raising=False)
    assert main(["--model", "vader", "--rounds", "5", "--json"]) == 0
    said = capsys.readouterr()
    assert "labelled sets skipped" in said.err
    assert {line["section"] for line in json.loads(said.out)} == {"probes", "attacks"}
    assert main(["--model", "vader", "--rounds", "5", "--sets", str(labelled(tmp_path))]) == 0
    assert "-- held out" in capsys.readouterr().out
    assert main(["--model", "vader", "--rounds", "5", "--save"]) == 2
    assert main(["--model", "nobody", "--rounds", "5"]) == 2
