"""The scoring benchmark runs, compares like with like, and counts what it says."""

import json
from pathlib import Path

import pytest

from benchmarks import score
from benchmarks.score_memory import watch_memory
from benchmarks.score_models import model_folder, multiplications
from benchmarks.score_texts import KINDS, WORDS, texts


def test_the_grammar_makes_texts_of_three_lengths() -> None:
    """The same texts for the same seed; as many words as the quantiles say."""
    assert texts("posts", 20) == texts("posts", 20) != texts("posts", 20, seed=8)
    words = {kind: sorted(len(text.split()) for text in texts(kind, 2000)) for kind in KINDS}
    for kind, found in words.items():
        assert abs(found[1000] - WORDS[kind][4]) <= 0.1 * WORDS[kind][4] and abs(found[500] - WORDS[kind][3]) <= 8
    wide = [max(words["posts"][at::62]) for at in range(62)]
    assert sum(words["posts"]) / 2000 < 0.6 * sum(wide) / 62


@pytest.mark.filterwarnings("ignore")  # of the pipeline's own imports, in a process of its own
def test_a_quick_run_has_every_row(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One text of each kind by each contender: same labels as the pipeline's, and every stage timed."""
    monkeypatch.setitem(score.SHARES, "articles", 0.1)
    score.main(["--quick", "--texts", "24", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {row["texts"] for row in found["speed"]} == set(KINDS)
    assert {row["what"] for row in found["speed"]} >= {"pipeline, batch 32", "ours, fp32"}
    exact = [row["same_labels"] for row in found["speed"] if row["what"] == "ours, fp32"]
    assert exact == [1.0, 1.0, 1.0]
    assert all(row["texts_per_second"] > 0 for row in [*found["speed"], *found["stages"]])
    assert {"normalise", "link", "near-duplicates", "tokenise", "write"} <= {row["stage"] for row in found["stages"]}
    assert found["cold"]["posts"] == 100
    assert 0.0 < found["share"][0]["share"] < 1.0


def test_multiplications_are_counted_by_hand(tmp_path: Path) -> None:
    """Two layers of 32 with 128 inside: one text of 3 tokens, the last layer for its first token only."""
    folder = model_folder("tiny", tmp_path)
    first = 3 * (4 * 32 * 32 + 2 * 32 * 128) + 2 * 3 * 3 * 32
    last = 3 * 2 * 32 * 32 + (2 * 32 * 32 + 2 * 32 * 128) + 2 * 3 * 32
    assert multiplications(folder, [3]) == 2 * (first + last + 32 * 32)


def test_memory_is_watched_in_tenths() -> None:
    """Ten rows, or fewer when posts finish together; every post is scored."""
    rows = watch_memory(2_000)
    assert rows and rows[-1]["posts"] == 2_000
    assert all(row["resident_mb"] > 10 for row in rows)
