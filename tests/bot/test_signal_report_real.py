"""`tidegate signal-report` on real news of 2021-10 to 2022-07, where the files lie beside the project."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bot.cli import app

REAL = Path(os.environ.get("TIDEGATE_REAL_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
COINS = ("BTC", "ETH", "BNB", "XRP")
CONFIG = """[run]
symbols = ["BTC/USDT", "ETH/USDT", "BNB/USDT", "XRP/USDT"]
since = "2021-10-12"
until = "2022-07-05"
strategy = "mood-flow"
source = "binance"
model = "vader"
allow_revised = ["exchange_netflow"]
"""

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"no real files in {REAL}")


def done(*arguments: str) -> str:
    """What the command prints."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_real_window_is_reported_as_it_is_and_shuffled_it_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asserted of what the market did: only that it is judged whole, gaps, lags and doubts."""
    monkeypatch.chdir(tmp_path)
    Path("real.toml").write_text(CONFIG, encoding="utf-8")
    for coin in COINS:
        bars = REAL / f"ohlcv/1h/{coin}_USDT-1h-20210701_20221031.parquet"
        done("import", "bars", str(bars), "--source", "binance")
    done("import", "posts", str(REAL / "text/cryptonews_2021-10_2022-07.parquet"))
    flows = REAL / "onchain/btc_coinmetrics_flows.parquet"
    stated = ["--stamp", "start", "--interval", "1d", "--lag", "6h", "--quality", "revised", "--coin", "BTC"]
    done("import", "metrics", str(flows), *stated, "--values", "exchange_netflow=FlowInExUSD-FlowOutExUSD")
    done("score", "--model", "vader")
    report: dict[str, Any] = json.loads(done("signal-report", "real.toml", "--json"))
    assert not report["synthetic"] and report["decisions"] == 6_384
    assert len(report["verdicts"]) == 2 * len(COINS) and len(report["cells"]) == 10 * len(COINS)
    texts = {(one["signal"], one["symbol"]): one["text"] for one in report["verdicts"]}
    assert all(text.startswith(("evidence: ", "no evidence: ")) for text in texts.values())
    assert {texts["flow", f"{coin}/USDT"] for coin in COINS[1:]} == {"no evidence: never ready"}  # flows of one coin
    ready = {one["symbol"]: one["ready"] for one in report["coverage"] if one["signal"] == "mood"}
    assert 0.2 < ready["BNB/USDT"] < ready["BTC/USDT"] < 0.95
    assert {quarter["quarter"] for quarter in report["quarters"]} == {"2021 Q4", "2022 Q1", "2022 Q2"}
    shams = [done("signal-report", "real.toml", "--signal", "mood", "--shuffled", "--seed", seed) for seed in "12"]
    assert any("No evidence in any symbol" in sham for sham in shams)  # either may be the one in twenty, both not
    assert all("shuffled in time before" in " ".join(sham.split()) for sham in shams)
