"""The page and the terminal form of a signal report: complete, escaped, drawn by a browser, quiet about nothing."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from backtest.result import InputShare
from backtest.signal_page import signal_page, write_signal_page
from backtest.signal_report import examine
from backtest.signal_result import SignalReport
from backtest.signal_terminal import show_signals
from data.errors import WorkError
from signals import Level
from tests.backtest.pages import Tags, opened, payload, shell, unpacked
from tests.backtest.signal_worlds import HOUR, looking, planted, remembering, world

EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'


@pytest.fixture(scope="module")
def report() -> SignalReport:
    """Two signals in two symbols: one found in the first, the other never ready in the second."""
    rng = np.random.default_rng(3)
    x = remembering(rng, 2400, 2, 4.0)
    returns = planted(x, rng.standard_normal(x.shape), 0.3)
    returns[:, 1] = 0.01 * rng.standard_normal(2400)
    x[:, 1] = np.nan
    spec = looking(2, tide=Level("tide", max_age="3h"), ebb=Level("tide", max_age="4h"))
    return examine(spec, world(x, returns), horizons_ns=[HOUR, 4 * HOUR, 12 * HOUR], draws=99)


def hostile(report: SignalReport) -> SignalReport:
    """The same under names that try to be more than names."""
    cells = tuple(replace(cell, symbol=EVIL) if cell.symbol == "BTC/USDT" else cell for cell in report.cells)
    verdicts = tuple(
        replace(one, symbol=EVIL, text=EVIL) if one.symbol == "BTC/USDT" else one for one in report.verdicts
    )
    share = InputShare("metrics", EVIL, EVIL, 9, 0, 1, EVIL, {EVIL: 5, "revised": 4})
    covered = tuple(replace(one, symbol=EVIL) for one in report.coverage)
    model = {"id": EVIL, "revision": "\x1b[31m", "cutoff": None, "warning": EVIL}
    return replace(
        report, symbols=(EVIL, "ETH/USDT"), cells=cells, verdicts=verdicts, declared={"tide": EVIL, "ebb": "\x1b[31m"},
        inputs=(share,), notes=(EVIL, "[red]x[/red]"), coverage=covered, model=model,
    )  # fmt: skip


def printed(report: SignalReport, width: int = 80) -> str:
    """The terminal form as text."""
    page = io.StringIO()
    show_signals(report, Console(file=page, width=width, color_system=None, force_terminal=False))
    return page.getvalue()


def test_the_page_holds_every_figure_and_its_charts_every_curve(report: SignalReport) -> None:
    text = signal_page(report)
    words = " ".join(Tags(shell(text)).words)
    assert words.count("evidence: follow it") == 2 and words.count("no evidence: never ready") == 2
    assert "Evidence in 1 of 2 symbols: BTC/USDT" in words and "Holm for 6 tests" in words
    assert "Synthetic market" in words
    header, arrays = unpacked(payload(text, "facts"))
    assert [one["name"] for one in header["signals"]] == ["tide", "ebb"]
    first, second = header["signals"][0]["symbols"]
    assert first["evidence"] and not second["evidence"] and header["signals"][0]["horizons"] == ["1h", "4h", "12h"]
    assert first["ic"] == [cell.ic for cell in report.cells_of("tide", "BTC/USDT")] and second["ic"] == [None] * 3
    assert set(arrays) == {"t0", "total0_0", "t1", "total1_0"}  # nothing of what was never ready
    assert signal_page(report) == text


def test_hostile_names_stay_names(report: SignalReport) -> None:
    text = signal_page(hostile(report))
    tags = Tags(shell(text)).tags
    assert sum(tag == "script" for tag, _ in tags) == 5 and not any(tag == "img" for tag, _ in tags)
    assert EVIL not in shell(text)
    for width in (80, 100):
        shown = printed(hostile(report), width)
        assert "\x1b" not in shown and "[red]x[/red]" in shown
        assert max(map(len, shown.splitlines())) <= width


def test_what_is_printed_says_of_every_symbol_what_it_is(report: SignalReport) -> None:
    shown = printed(report)
    assert shown.count("evidence: follow it") == 2 and shown.count("no evidence: never ready") == 2
    assert "100.0% warming up" in shown and "corrected by Holm for 6 tests" in " ".join(shown.split())
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show_signals(report, Console(file=ascii_only, width=80))
    ascii_only.seek(0)
    assert "+ Evidence in 1 of 2 symbols" in ascii_only.read()


def test_a_browser_draws_the_charts(report: SignalReport, tmp_path: Path) -> None:
    path = write_signal_page(hostile(report), tmp_path / "signals.html")
    shown, complaints = opened(path, "theme=dark", tmp_path)
    tags = Tags(shown).tags
    drawn = [attrs.get("id") for _, attrs in tags if "js-plotly-plot" in (attrs.get("class") or "").split()]
    assert drawn == ["ic0", "sum0", "ic1", "sum1"]
    assert "hidden" in next(attrs for _, attrs in tags if attrs.get("id") == "no-charts")
    assert not any(tag == "img" for tag, _ in tags) and "CONSOLE" not in complaints


def test_a_page_that_cant_be_written_leaves_nothing_behind(report: SignalReport, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(WorkError, match="could not be written"):
        write_signal_page(report, tmp_path / "taken" / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
