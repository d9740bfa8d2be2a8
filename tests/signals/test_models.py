"""The model registry: pins, labels, cutoffs, folders."""

import json
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pytest

from data.errors import InputError
from data.times import DAY_NS, SECOND_NS
from signals.folders import inspect_folder
from signals.labels import BEARISH, BULLISH, CLASSES, NEUTRAL, marks, parse_labels
from signals.models import DEFAULT_MODEL, cutoff_warning, fingerprint, registry, resolve

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_registry_holds_what_it_promises() -> None:
    assert set(registry()) == {"tidegate-mini", "vader", "finbert", "cryptobert", "twitter-roberta"}
    assert registry()["finbert"].labels == (BULLISH, BEARISH, NEUTRAL)
    assert registry()["cryptobert"].labels == CLASSES
    assert registry()["cryptobert"].max_length == 128
    assert registry()["twitter-roberta"].labels == CLASSES
    for card in registry().values():
        assert card.cutoff is not None
        assert card.licence
        assert (card.revision is None) == (card.name != DEFAULT_MODEL)


def test_the_default_is_the_shipped_model() -> None:
    card = resolve(DEFAULT_MODEL)
    assert (card.name, card.labels, card.masks, card.english) == ("tidegate-mini", CLASSES, True, True)
    assert card.notice == ""
    assert resolve(f"tidegate-mini@{card.pinned}") == card


def test_the_baseline_is_a_lexicon_and_says_so() -> None:
    card = resolve("vader")
    assert card.revision == card.pinned == version("vaderSentiment")
    assert "lexicon baseline" in card.notice
    assert resolve(f"vader@{card.revision}") == card
    with pytest.raises(InputError, match="another version is installed"):
        resolve("vader@1.0")
    with pytest.raises(InputError, match="labels of vader are"):
        resolve("vader", labels="bullish,neutral,bearish")


@pytest.mark.parametrize(
    "name", ["finbert", "finbert@main", "finbert@4556d13", f"finbert@{COMMIT.upper()}", "a/b", "a/b@v1"]
)
def test_a_hub_model_has_to_be_pinned(name: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(name, labels=None)
    said = str(caught.value)
    assert "pinned" in said
    assert "40 hex digits" in said
    assert "https://huggingface.co/" in said
    assert caught.value.exit_code == 2


def test_a_pinned_registry_model() -> None:
    card = resolve(f"finbert@{COMMIT}")
    assert (card.name, card.hub_id, card.pinned, card.commit) == ("finbert", "ProsusAI/finbert", COMMIT, COMMIT)
    assert resolve(f"ProsusAI/finbert@{COMMIT}") == card
    with pytest.raises(InputError, match="the labels of finbert are bullish,bearish,neutral"):
        resolve(f"finbert@{COMMIT}", labels="bearish,neutral,bullish")
    with pytest.raises(InputError, match="without a pinned revision"):
        _ = registry()["finbert"].pinned


def test_an_unknown_hub_model_needs_labels_and_they_are_part_of_its_revision() -> None:
    with pytest.raises(InputError, match="--labels"):
        resolve(f"some/model@{COMMIT}")
    card = resolve(f"some/model@{COMMIT}", labels="neg,neu,pos")
    other = resolve(f"some/model@{COMMIT}", labels="pos,neu,neg")
    assert card.labels == CLASSES
    assert card.commit == other.commit == COMMIT
    assert card.pinned != other.pinned
    assert fingerprint(card, "fp32") != fingerprint(other, "fp32") != fingerprint(other, "bf16")
    assert card.cutoff_text == "cutoff unknown"
    assert "cutoff unknown" in card.notice


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("bearish,neutral", "both bearish and bullish"),
        ("up,down", "'up'"),
        ("", "not a class"),
        ("LABEL_0,LABEL_1", "LABEL_0"),
    ],
)
def test_labels_that_say_nothing(labels: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_labels(labels)


def test_labels() -> None:
    assert parse_labels(" Negative, NEUTRAL ,positive") == CLASSES
    assert parse_labels(["bullish", "bearish"]) == (BULLISH, BEARISH)
    stars = parse_labels("bearish,bearish,neutral,bullish,bullish")
    assert marks(stars) == "--0++"


def test_cutoffs() -> None:
    card = resolve("vader", cutoff="2020-06-30")
    assert card.cutoff == date(2020, 6, 30)
    assert card.cutoff_ns == 1_593_561_600 * SECOND_NS  # 2020-07-01
    assert cutoff_warning(card, card.cutoff_ns) is None
    warning = cutoff_warning(card, card.cutoff_ns - DAY_NS)
    assert warning is not None
    assert "2020-06-30" in warning
    assert "seen the future" in warning
    unknown = cutoff_warning(resolve(f"some/model@{COMMIT}", labels="neg,pos"), card.cutoff_ns)
    assert unknown is not None
    assert "cutoff unknown" in unknown
    with pytest.raises(InputError, match="YYYY-MM-DD"):
        resolve("vader", cutoff="June 2020")


@pytest.mark.parametrize("name", ["nosuch", "./nosuch", "../a/b", "a b", ""])
def test_no_such_model(name: str) -> None:
    with pytest.raises(InputError, match="no such model") as caught:
        resolve(name)
    assert "finbert" in str(caught.value)


def folder_of(
    folder: Path, config: object = None, *, weights: str = "model.safetensors", tokenizer: bool = True
) -> Path:
    """The files of a model, with nothing in them that would have to be loaded."""
    folder.mkdir(exist_ok=True)
    names = {"0": "Bearish", "1": "Neutral", "2": "Bullish"}
    (folder / "config.json").write_text(json.dumps({"id2label": names} if config is None else config), encoding="utf-8")
    (folder / weights).write_bytes(b"weights")
    if tokenizer:
        (folder / "vocab.txt").write_text("[PAD]\n", encoding="utf-8")
    return folder


def test_a_folder_is_pinned_by_its_files(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "mine")
    card = resolve(str(folder))
    assert (card.name, card.kind, card.labels, card.folder) == ("mine", "transformer", CLASSES, folder)
    assert len(card.pinned) == 64
    assert resolve(str(folder)).pinned == card.pinned
    assert resolve(str(folder), labels="bullish,neutral,bearish").pinned != card.pinned
    (folder / "README.md").write_text("words", encoding="utf-8")
    assert resolve(str(folder)).pinned == card.pinned
    for name in ("model.safetensors", "vocab.txt"):
        before = resolve(str(folder)).pinned
        (folder / name).write_bytes(b"other")
        assert resolve(str(folder)).pinned != before


@pytest.mark.parametrize(
    "names",
    [
        {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"},
        {"0": "1 star", "1": "5 stars"},
        {"0": "neg", "1": "negative"},
        None,
    ],
)
def test_outputs_in_doubt_need_labels(tmp_path: Path, names: object) -> None:
    folder = folder_of(tmp_path / "mine", {"id2label": names})
    with pytest.raises(InputError) as caught:
        resolve(str(folder))
    assert "--labels bearish,neutral,bullish" in str(caught.value)
    assert "config.json" in str(caught.value)
    count = len(names) if isinstance(names, dict) else 2
    labels = "bearish,bullish" if count == 2 else "bearish,neutral,bullish"
    assert len(resolve(str(folder), labels=labels).labels) == count
    with pytest.raises(InputError, match=f"4 labels for a model of {count} outputs"):
        resolve(str(folder), labels="bearish,bearish,bullish,bullish")


def test_unsafe_or_incomplete_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"only pickled weights \(pytorch_model.bin\)"):
        inspect_folder(folder_of(tmp_path / "a", weights="pytorch_model.bin"), None)
    with pytest.raises(InputError, match="no tokenizer"):
        inspect_folder(folder_of(tmp_path / "b", tokenizer=False), None)
    with pytest.raises(InputError, match="needs code of its own"):
        inspect_folder(folder_of(tmp_path / "c", {"auto_map": {"AutoModel": "evil.py"}}), None)
    with pytest.raises(InputError, match="not a JSON object"):
        inspect_folder(folder_of(tmp_path / "d", [1]), None)
    with pytest.raises(InputError, match="not a map"):
        inspect_folder(folder_of(tmp_path / "e", {"id2label": {"0": "neg", "5": "pos"}}), None)
    folder = folder_of(tmp_path / "f")
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="can't be read"):
        inspect_folder(folder, None)
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"no config\.json"):
        inspect_folder(folder, None)
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="an adapter"):
        inspect_folder(folder, None)
    empty = tmp_path / "g"
    empty.mkdir()
    with pytest.raises(InputError, match=r"no \*\.safetensors file"):
        inspect_folder(empty, None)
