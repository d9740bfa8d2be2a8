"""The training command runs end to end on a tiny network, and what decides over its result holds on small examples."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.sentiment_posts.grammar import COINS, generated_rows, is_held, templates, words, written, written_rows
from benchmarks.train_sentiment import calibrate
from benchmarks.train_sentiment.__main__ import main
from benchmarks.train_sentiment.fit import Batch, distil_loss
from benchmarks.train_sentiment.nets import kept_layers, open_base, shrink
from benchmarks.train_sentiment.pack import quantised, restored
from benchmarks.train_sentiment.sets import (
    EVALUATION,
    TRAINING,
    Row,
    duplicate_key,
    find_spans,
    mask_rows,
    read_table,
    split_rows,
    training_rows,
)
from benchmarks.train_sentiment.tricks import tricked
from data.errors import InputError
from signals.models import resolve
from signals.scorer import Compute, open_scorer
from tests.signals.tiny_bert import write_tiny_bert

UPS = ("bitcoin is up now", "very good price today", "moon token buy it", "hold the crypto, good")
DOWNS = ("bitcoin is down now", "very bad price today", "crash of the token sell it", "sell the crypto, bad")


def table(copies: int, mark: str) -> pd.DataFrame:
    """Bullish and bearish texts that differ between copies in their letters."""
    texts = [(f"{text} {mark}{'a' * (at + 1)}", label) for at in range(copies) for text, label in _both()]
    return pd.DataFrame(texts, columns=["text", "label"])


def _both() -> list[tuple[str, int]]:
    return [*((text, 1) for text in UPS), *((text, -1) for text in DOWNS), ("the market to the market", 0)]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the names of the labelled sets; one training text stands in an evaluation file too."""
    folder = tmp_path_factory.mktemp("sets")
    for spec in TRAINING:
        table(4, "t").to_parquet(folder / f"{spec.file}.parquet")
    for name in EVALUATION:
        table(2, "e").to_parquet(folder / f"{name}.parquet")
    leaked = pd.DataFrame({"text": ["@someone BITCOIN is up now, TA! https://t.co/x"], "label": [1]})
    pd.concat([table(2, "e"), leaked]).to_parquet(folder / f"{EVALUATION[0]}.parquet")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bert(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def trained(sets: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes, two layers distilled to one."""
    folder = tmp_path_factory.mktemp("trained")
    work = folder / "work"
    common = ["--quick", "--sets", str(sets), "--base", str(base), "--layers", "1", "--work", str(work)]
    assert main([*common, "--out", str(folder / "one")]) == 0
    assert {path.name for path in work.iterdir()} == {"teacher.safetensors", "student.safetensors"}
    assert main([*common, "--out", str(folder / "again")]) == 0
    return folder


def test_what_was_trained_scores_through_the_product(trained: Path) -> None:
    card = resolve(str(trained / "one"))
    assert (card.masks, card.cutoff_text, card.max_length) == (True, "2022-12-31", 64)
    found = open_scorer(card, Compute(dtype="fp32", device="cpu")).score(["bitcoin is up", "very bad price today"])
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)


def test_card_names_what_was_learnt_from_and_what_was_dropped(trained: Path) -> None:
    card = json.loads((trained / "one" / "card.json").read_text())
    rows = {fact["name"]: fact for fact in card["training"]}
    assert len(rows) == len(TRAINING) + 1
    first = rows[TRAINING[0].title]
    assert (first["rows"], first["dropped_near_duplicates"]) == (35, 1)
    assert card["calibration"]["temperature"] > 0
    assert all(low < 0 < high for low, high in card["thresholds"].values())
    assert (trained / "one" / "MODEL_CARD.md").read_text().startswith("# tidegate-mini")


def test_finished_stages_are_taken_up_and_give_the_same_model(trained: Path) -> None:
    for name in ("model.safetensors", "card.json"):
        assert (trained / "one" / name).read_bytes() == (trained / "again" / name).read_bytes()


def test_fine_tuning_on_a_users_file(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "mine.csv"
    table(6, "m").assign(label=lambda frame: frame["label"].map({-1: "bearish", 0: "neutral", 1: "bullish"})).to_csv(
        own
    )
    common = ["--quick", "--own", str(own), "--base", str(trained / "one")]
    assert main([*common, "--out", str(tmp_path / "dated"), "--cutoff", "2023-05-06"]) == 0
    card = json.loads((tmp_path / "dated" / "card.json").read_text())
    assert (card["cutoff"], card["training"][0]["rows"], card["base"]["name"]) == ("2023-05-06", 54, "tidegate-mini")
    assert main([*common, "--out", str(tmp_path / "undated")]) == 0
    assert "no --cutoff given" in capsys.readouterr().out
    assert resolve(str(tmp_path / "undated")).cutoff is None
    assert main([*common, "--out", str(tmp_path / "older"), "--cutoff", "2020-01-01"]) == 0
    assert json.loads((tmp_path / "older" / "card.json").read_text())["cutoff"] == "2022-12-31"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("text,mood\nup,1\n", "no such column"),
        ("text,label\nup,1\ndown,-2\n", "not a label in row 2"),
        ("text,label\n", "no rows"),
        (None, "no such file"),
    ],
)
def test_a_users_file_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, said: str
) -> None:
    own = tmp_path / "mine.csv"
    if content is not None:
        own.write_text(content)
    assert main(["--own", str(own), "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err


def test_unhappy_command_lines(
    tmp_path: Path, sets: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIDEGATE_REAL_DATA", raising=False)
    assert main(["--out", str(tmp_path)]) == 2
    assert "TIDEGATE_REAL_DATA" in capsys.readouterr().err
    assert main(["--out", str(tmp_path), "--sets", str(tmp_path / "nowhere")]) == 2
    own = tmp_path / "mine.csv"
    table(1, "m").to_csv(own)
    assert main(["--own", str(own), "--out", str(tmp_path / "out"), "--base", str(tmp_path)]) == 2
    assert "no model to start from" in capsys.readouterr().err
    for wrong in (["--own", "x.csv"], ["--quick", "--sets", str(sets)]):
        with pytest.raises(SystemExit) as stopped:
            main(wrong)
        assert stopped.value.code == 2


def test_near_duplicates_share_a_key_and_an_evaluation_file_has_to_be_there(sets: Path, tmp_path: Path) -> None:
    assert duplicate_key("$BTC +5%: Up! https://t.co/a @x") == duplicate_key("btc up") != duplicate_key("btc down")
    for spec in TRAINING:
        table(1, "t").to_parquet(tmp_path / f"{spec.file}.parquet")
    with pytest.raises(InputError, match="no such file"):
        training_rows(tmp_path)


def test_each_entity_gets_its_own_masked_text() -> None:
    text = "Apple beats Apple Hospitality, HSBC lags"
    frame = pd.DataFrame({"text": [text] * 3, "target": ["Apple", "Apple Hospitality", "HSBC"], "label": [1, -1, -1]})
    shown = [row.text for row in mask_rows(frame, "news", "x")]
    assert shown == ["target beats target Hospitality, other lags"] * 1 + [
        "other beats target, other lags",
        "other beats other, target lags",
    ]
    assert len({row.group for row in mask_rows(frame, "news", "x")}) == 1
    assert find_spans("a b", [""]) == ()


def test_split_keeps_groups_together() -> None:
    rows = [Row(f"text {at}", 0, group=f"g{at // 3}") for at in range(900)]
    kept, held = split_rows(rows, 0.2)
    assert len(kept) + len(held) == 900 and 90 < len(held) < 270
    assert not {row.group for row in kept} & {row.group for row in held}


def test_posts_are_seeded_masked_and_split_by_template() -> None:
    rows = generated_rows(600, (1,), held=False)
    assert rows == generated_rows(600, (1,), held=False) != generated_rows(600, (2,), held=False)
    assert sum("target" in row.text for row in rows) > 0.7 * len(rows)
    assert not any("{" in row.text for row in rows)
    assert {row.label for row in rows} == {-1, 0, 1}
    held = {each.text for each in templates() if is_held(each.text, each.kind)}
    assert 0.08 < len(held) / len(templates()) < 0.25
    assert len(written_rows(held=True)) + len(written_rows(held=False)) == len(written())


def test_some_kinds_are_for_the_student_alone() -> None:
    rows = generated_rows(600, (1,), held=False, later=True)
    assert rows[: len(rows) - 150] == generated_rows(600, (1,), held=False)
    assert {row.origin for row in rows[-150:]} == {"own_turns"}


def test_where_the_teacher_errs_a_sure_label_counts_alone(base: Path) -> None:
    import torch

    teacher, student = open_base(base), open_base(base)
    student.model.load_state_dict(teacher.model.state_dict())
    for net in (teacher, student):
        net.model.eval()
        for weights in net.model.parameters():
            weights.requires_grad_(False)
    loss_of = distil_loss(student, teacher)
    tokens = torch.tensor([[2, 70, 3]])
    batch = Batch(tokens, torch.ones_like(tokens), torch.tensor([0]), torch.tensor([False]))
    said = student.model(input_ids=tokens).logits
    right = int(said.argmax())
    wrong = (right + 1) % 3
    gold = torch.nn.functional.cross_entropy(said, torch.tensor([wrong]))
    unsure = loss_of(replace(batch, classes=torch.tensor([wrong])))
    assert unsure.item() == pytest.approx(0.3 * gold.item(), rel=1e-4)  # it says what its teacher says
    student.model.classifier.bias.data += torch.tensor([1.0, 0.0, -1.0])
    said = student.model(input_ids=tokens).logits
    for label, alone in ((wrong, True), (right, False)):
        gold = torch.nn.functional.cross_entropy(said, torch.tensor([label]))
        loss = loss_of(replace(batch, classes=torch.tensor([label]), sure=torch.tensor([True])))
        assert (loss.item() == pytest.approx(gold.item(), rel=1e-4)) is alone


def test_templates_and_words_are_whole() -> None:
    given_slots = {"coin", "coin2", "pct", "usd", "price", "n", "day", *words()}
    for each in templates():
        slots = {piece.partition("}")[0] for piece in each.text.split("{")[1:]}
        assert slots <= given_slots, each.text
        assert len(each.labels) == (2 if "{coin2}" in each.text and each.kind == "compare" else 1), each.text
    texts = [each.text for each in templates()]
    assert len(texts) == len(set(texts))
    assert len(COINS) > 40


def test_tricks_keep_the_label_and_leave_most_rows_alone() -> None:
    rows = [Row(f"target falls {at}", -1) for at in range(400)]
    found = tricked(rows, np.random.default_rng(1))
    assert {row.label for row in found} == {-1}
    changed = sum(one.text != other.text for one, other in zip(rows, found, strict=True))
    assert 30 < changed < 100


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 2**31))
def test_int8_by_row_is_within_half_a_step(rows: int, columns: int, seed: int) -> None:
    import torch

    state = {"w": torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)), "b": torch.ones(rows)}
    packed = quantised(state)
    assert packed["w"].dtype == torch.int8 and packed["w.scale"].shape == (rows,)
    again = restored(packed)
    assert set(again) == set(state) and torch.equal(again["b"], state["b"])
    assert bool(((again["w"] - state["w"]).abs() <= packed["w.scale"][:, None] * 0.5001).all())


def test_a_student_is_cut_from_its_teacher(base: Path) -> None:
    import torch

    teacher = open_base(base)
    student = shrink(teacher, 1)
    theirs, ours = teacher.model.state_dict(), student.model.state_dict()
    name = "attention.self.query.weight"
    assert torch.equal(ours[f"bert.encoder.layer.0.{name}"], theirs[f"bert.encoder.layer.1.{name}"])
    assert torch.equal(ours["classifier.weight"], theirs["classifier.weight"])
    assert [kept_layers(6, 3), kept_layers(6, 2), kept_layers(4, 4)] == [[1, 3, 5], [2, 5], [0, 1, 2, 3]]


def test_calibration_finds_the_temperature_it_was_spoilt_with() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(6000, 3)) * 2
    chances = calibrate.softmax(logits)
    labels = [int(rng.choice(3, p=row)) - 1 for row in chances]
    found = calibrate.fit_calibration(logits * 3 + [0.6, 0.0, 0.0], labels, [1.0] * len(labels))
    assert found["temperature"] == pytest.approx(3.0, rel=0.1)
    assert found["bias"] == pytest.approx([-0.6, 0.0, 0.0], abs=0.25)
    spoilt = calibrate.calibration_error(calibrate.softmax(logits * 3), labels)
    assert calibrate.calibration_error(calibrate.calibrated(logits * 3, found), labels) < 0.05 < spoilt


def test_figures_on_examples_worked_by_hand() -> None:
    assert calibrate.macro_f1([1, 1, 0, -1], [1, 0, 0, 0]) == pytest.approx((2 / 3 + 1 / 2) / 3)
    score = np.array([0.9, 0.1, 0.1, -0.5])
    assert calibrate.area_under_curve(score, np.array([True, True, False, False])) == pytest.approx(0.875)
    assert np.isnan(calibrate.area_under_curve(score, np.ones(4, dtype=bool)))
    assert calibrate.calibration_error(np.array([[0.1, 0.1, 0.8], [0.1, 0.1, 0.8]]), [1, 0]) == pytest.approx(0.3)
    low, high = calibrate.fit_thresholds(np.array([-0.8, -0.2, 0.3, 0.7]), [-1, 0, 0, 1])
    assert -0.8 < low < -0.2 and 0.3 < high < 0.7
    assert list(calibrate.by_thresholds(np.array([-0.5, 0.0, 0.5]), -0.5, 0.5)) == [-1, 0, 1]


def test_a_table_reads_words_for_labels(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pd.DataFrame({"text": ["a", " "], "label": ["Bullish", "bearish"]}).to_parquet(path)
    assert read_table(path)["label"].tolist() == [1]
