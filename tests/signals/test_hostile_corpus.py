"""A hostile corpus through the front door: `tidegate import posts`, then `tidegate score`; no crash, no NaN stored."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from bot.cli import app
from data.store import Store
from tests.signals.tiny_bert import write_tiny_int8

HOSTILE = {
    "ten megabytes": "bitcoin up " * 950_000,
    "one long word": "bitcoin " + "x" * 1_000_000,
    "nulls": "bit\x00coin \x00\x00 bitcoin is up",
    "lone surrogates": "bitcoin \ud800 up \udfff",
    "right to left": "\u202ebitcoin\u202c is \u2066up\u2069 \u200f",
    "emoji": "bitcoin " + "🚀" * 5_000,
    "empty": "",
    "spaces": " \u200b\u00a0\n\t ",
    "html": "<p onclick='x'>bitcoin &amp; <script>alert(1)</script> <b>up</b> &#x110000; &lt;b&gt;",
    "unclosed": "<" * 20_000 + " bitcoin",
    "entities": "&amp;" * 20_000 + " bitcoin",
    "stray accents": "b" + "\u0301" * 50_000 + "itcoin, bitcoin",
    "special tokens": "[CLS] [SEP] [PAD] [MASK] bitcoin",
    "injection": "'; drop table posts; -- bitcoin {0} %s {{x}}",
    "cashtags": "$BTC " * 30_000,
    "many coins": " ".join(["bitcoin ethereum solana dogecoin cardano"] * 2_000),
    "other scripts": "比特币 биткоин ビットコイン بيتكوين bitcoin",
    "plain": "bitcoin is up",
}
RUNNER = CliRunner()


def call(*arguments: str) -> Result:
    return RUNNER.invoke(app, list(arguments))


@pytest.fixture
def store(tmp_path: Path, var: Path) -> Store:
    """The corpus as JSON lines, imported."""
    file = tmp_path / "posts.jsonl"
    rows = [
        {"id": name, "time": f"2024-03-01T00:00:{at:02d}Z", "text": text, "author": "\ud83d", "followers": 3}
        for at, (name, text) in enumerate(HOSTILE.items())
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="ascii")  # surrogates as escapes
    done = call("import", "posts", str(file), "--source", "hostile", "--json")
    assert done.exit_code == 0, done.stderr
    return Store(var)


@pytest.mark.parametrize(
    "options", [[], ["--keep-spam", "--keep-foreign", "--rescore-duplicates"], ["--long", "windows"]]
)
def test_nothing_crashes_and_no_stored_number_is_missing(store: Store, tmp_path: Path, options: list[str]) -> None:
    folder = write_tiny_int8(tmp_path / "tiny")
    for model in ("vader", str(folder)):
        done = call("score", "--own", "--model", model, "--json", *options)
        assert done.exit_code == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["done"] == report["posts"] == store.table("posts").num_rows > 10
        assert report["failed"] == 0
    rows = store.table("sentiment")
    assert rows.num_rows > 20
    assert "plain" in rows["key"].to_pylist()
    for name in ("p_bearish", "p_neutral", "p_bullish", "score", "followers"):
        assert np.isfinite(rows[name].to_numpy()).all(), name
    total = sum(rows[name].to_numpy() for name in ("p_bearish", "p_neutral", "p_bullish"))
    assert np.allclose(total, 1.0, atol=1e-5)
    assert np.abs(rows["score"].to_numpy()).max() <= 1.0
