"""The report in the terminal, as a page and side by side: what it says, what it fits into, and what it never does."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from backtest import page as page_module
from backtest import words
from backtest.compare import compare, comparison_text, show_comparison
from backtest.metrics import metrics_json
from backtest.page import page_html, write_page
from backtest.page_pack import MOST_BYTES, Thinner, ladder_spans, pack
from backtest.result import Discount, InputShare, Result
from backtest.terminal import report_text, show
from data.errors import InputError, WorkError
from risk.records import FILL, R_BAR_AGE, R_DRAWDOWN, R_LADDER, R_LEVERAGE, R_POSITION
from tests.backtest.pages import Tags, opened, payload, shell, unpacked
from tests.backtest.results import HOUR_NS, SYMBOLS, made_result

EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'


@pytest.fixture(scope="module")
def year() -> Result:
    return made_result(8784, SYMBOLS)


@pytest.fixture(scope="module")
def year_page(year: Result) -> str:
    return page_html(year)


def hostile() -> Result:
    return made_result(
        800,
        (f"{EVIL}/USDT", "<!--facts-->/USDT"),
        strategy=f"{EVIL}\x1b[31m[red]x[/red]",
        quote="<i>U</i>",
        settings={"run": {"a<b": EVIL}, EVIL: EVIL},
        errors=3,
        error_samples=[EVIL, "</script><script>alert(4)</script>"],
        model={"id": EVIL, "revision": None, "cutoff": None, "warning": EVIL},
        signal_names=(EVIL, "b"),
        holds={(EVIL, EVIL, EVIL): 4},
        stress={EVIL: -0.1},
        resume_after=EVIL,
        discounted=[Discount(EVIL, 21, EVIL, 0, 1, 9)],
        doubts=[EVIL],
        notes=[EVIL],
        inputs=[InputShare("bars", EVIL, EVIL, 3, 0, 1, EVIL, {EVIL: 3})],
    )


# --- what was discounted ----------------------------------------------------------------------------------------------
def test_discounted_posts_are_told_everywhere(year: Result, year_page: str) -> None:
    """By coin and span, with the rule, what was observed and what is allowed; nothing is said where nothing was."""
    text = report_text(year, 120)
    assert "BTC 2024-01-01 01:00 → 2024-01-01 07:00  1,984 posts: one template: 98%, limit 50%" in text
    assert "* 2024-01-01 07:00 → 2024-01-01 08:00  2 posts: one source alone: mood moved by 0.62, limit 0.50" in text
    assert "300 posts: near-duplicates, the k-th for 1/k, 41 in all" in text
    for told in ("Discounted posts", "flood and manipulation", "two sources", "one template: 98%, limit 50%"):
        assert told in year_page
    assert metrics_json(year)["discounted"][0] == {
        "coin": "BTC", "rule": 21, "why": "one template", "since_ns": year.close_ns[0],
        "until_ns": year.close_ns[0] + 6 * HOUR_NS, "posts": 1984, "taken_back": 14, "limit": 0.5, "observed": 0.975,
    }  # fmt: skip
    plain = made_result(300, discounted=[])
    assert "Discounted" not in report_text(plain, 120) and "Discounted posts" not in page_html(plain)


def test_of_many_discounts_the_largest_are_shown_in_the_terminal() -> None:
    many = [Discount("BTC", 22, "one source alone", 0, 1, count, 0, 0.5, 0.6) for count in range(1, 11)]
    many += [Discount(coin, 0, "near-duplicates", 0, 1, 1000, 0, 0.0, 20.0) for coin in ("BTC", "ETH")]
    text = report_text(made_result(300, discounted=many), 120)
    assert "10 posts" in text and "and 10 more posts in 4 lots" in text and " 3 posts" not in text
    assert "2,000 posts: near-duplicates, 40 in all" in text


# --- words ------------------------------------------------------------------------------------------------------------
def test_numbers_read_as_people_write_them() -> None:
    assert words.percent(0.1234, sign=True) == "+12.3%" and words.percent(-0.00001) == "0.0%"
    assert words.percent(float("nan")) == words.percent(None) == "–" and words.percent(123.0) == "12,300%"
    assert words.money(1234.5, "USDT") == "1,234.50 USDT" and words.money(-2_000_000.4) == "−2,000,000"
    assert words.price(0.00001234567) == "0.00001234567" and words.price(42_123.45) == "42,123.45"
    assert [words.span(n * 10**9) for n in (0, 45, 3700, 90_000, 86_400 * 400)] == [
        "0",
        "45 s",
        "1 h 1 min",
        "1 d 1 h",
        "400 d",
    ]
    assert (
        words.interval(HOUR_NS) == "1h"
        and words.interval(60 * 10**9) == "1m"
        and words.interval(7 * 24 * HOUR_NS) == "1w"
    )
    assert words.rule_value(R_DRAWDOWN, 0.25) == "25.00%" and words.rule_value(R_LEVERAGE, 1.5) == "1.50×"
    assert words.rule_value(R_BAR_AGE, HOUR_NS) == "1 h" and words.rule_value(R_LADDER, 4.0) == "HALTED"
    assert words.rule_value(R_POSITION, 5000.0) == "5,000.00"


@pytest.mark.parametrize(
    ("chance", "text"), [(0.0, "under 1%"), (0.5, "50%"), (0.9499, "94.9%"), (0.9999, "over 99%"), (0.699, "69%")]
)
def test_a_chance_is_never_rounded_up(chance: float, text: str) -> None:
    assert words.chance(chance) == text


# --- terminal ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_terminal_report_fits_and_says_it_all(year: Result, width: int) -> None:
    text = report_text(year, width, saved=Path("var/runs/x"))
    assert max(len(line) for line in text.splitlines()) <= width
    for told in (
        "SYNTHETIC MARKET", "No evidence of skill", "buy & hold", "Max drawdown", "recovered", "Sharpe", "Sortino",
        "Calmar", "after 12 trials (DSR)", "Win rate", "Profit factor", "Fees", "Slippage", "Turnover",
        "Time in market", "asset share 91", "ACTIVE → NO_NEW_RISK", "fees doubled +1.2%",
        "stale: mood 41", "resume_after never",
        "Assumed: funding of 0.01% every 8h.", "Feeds of posts were down once.",
        "10% revised", "vader @ 3.3.2", "daily closes at 00:00 UTC", "365.25", "Oct", "DOGE/USDT",
    ):  # fmt: skip
        assert told in text, told


def test_a_real_market_has_no_banner_and_a_short_run_no_annual_figures() -> None:
    text = report_text(made_result(200, synthetic=False), 100)
    assert "SYNTHETIC" not in text and "too short" in text and "A year" in text


def test_markup_and_control_characters_stay_text() -> None:
    text = report_text(hostile(), 100)
    assert "[red]x[/red]" in text and "\x1b" not in text


def test_a_terminal_that_knows_only_ascii_gets_ascii() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    show(made_result(800, market="perp"), Console(file=file, width=90))
    show_comparison(compare([made_result(100), made_result(100)]), Console(file=file, width=90))
    file.flush()
    text = raw.getvalue().decode("ascii")
    assert "Funding received" in text and "?" not in text.replace("what?", "")


# --- page -------------------------------------------------------------------------------------------------------------
def test_the_page_of_a_year_of_hours_is_under_five_megabytes(year: Result, year_page: str) -> None:
    assert len(year_page.encode()) < 5_000_000
    header, arrays = unpacked(payload(year_page, "facts"))
    assert header["bucket"] == 1 and header["candles"] is True and header["symbols"] == list(SYMBOLS)
    np.testing.assert_allclose(arrays["equity"], year.equity, rtol=1e-6)
    np.testing.assert_allclose(arrays["close3"], year.close[:, 3], rtol=1e-6)
    np.testing.assert_allclose(arrays["signal2_0"], year.rows[:, 2, 0], rtol=1e-5, atol=1e-6)  # type: ignore[index]
    assert len(arrays["fill_t"]) == len(year.fills) and len(arrays["trade_pnl"]) == len(year.trades())
    assert all(place % 8 == 0 for place, _, _ in header["arrays"].values())
    assert payload(year_page, "plotly").startswith(b"/**\n* plotly.js")


def test_the_page_needs_no_network(year_page: str) -> None:
    tags = Tags(shell(year_page)).tags
    for tag, attrs in tags:
        assert tag not in ("link", "iframe", "object", "embed", "img", "base"), tag
        assert not {"src", "href", "action", "srcset"} & set(attrs), (tag, attrs)
        assert not any(name.startswith("on") for name in attrs), (tag, attrs)
    policy = next(attrs["content"] for tag, attrs in tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and "default-src 'none'" in policy and "connect" not in policy
    nonce = re.findall(r"nonce-([0-9a-f]+)", policy)[0]
    scripts = [attrs for tag, attrs in tags if tag == "script"]
    assert all(attrs.get("nonce") == nonce or attrs.get("type") == "text/plain" for attrs in scripts)
    assert "://" not in re.sub(r"<style>.*?</style>", "", shell(year_page), flags=re.S)
    assert "@import" not in year_page and "url(" not in shell(year_page)


def test_every_place_of_the_page_is_filled(year_page: str) -> None:
    assert not re.search(r"<!--\w+-->", shell(year_page))
    said = " ".join(Tags(shell(year_page)).words)
    for told in (
        "Synthetic market", "No evidence of skill", "Monthly returns", "Deflated Sharpe", "asset share", "loss streak",
        "stale: mood", "exchange_netflow", "in effect: limits", "gross_leverage", "revised", "What each symbol earned",
        "Assumed: funding of 0.01% every 8h.", "Feeds of posts were down once.",
    ):  # fmt: skip
        assert told in said, told


def test_the_same_run_makes_the_same_page() -> None:
    assert page_html(made_result(300)) == page_html(made_result(300))


def test_hostile_texts_stay_texts() -> None:
    text = page_html(hostile())
    tags = Tags(shell(text)).tags
    assert sum(tag == "script" for tag, _ in tags) == 6
    assert not any(tag in ("img", "i") and set(attrs) - {"class", "style"} for tag, attrs in tags)
    assert EVIL not in text and "</script><script>" not in shell(text)
    header, _ = unpacked(payload(text, "facts"))
    assert header["symbols"][1] == "<!--facts-->/USDT"  # not taken for a place of the template
    assert "&lt;!--facts--&gt;/USDT" in text


def test_a_long_run_is_thinned_and_says_so() -> None:
    n = 130_000
    result = made_result(50, SYMBOLS[:1])
    rng = np.random.default_rng(5)
    walk = 100.0 + np.cumsum(rng.normal(0.0, 0.1, n))
    walk[77_777] = 1.0
    for name in ("equity", "cash", "gross", "net"):
        setattr(result, name, walk * 1.0)
    result.close_ns = result.close_ns[0] + 60 * 10**9 * np.arange(n, dtype=np.int64)
    for name in ("open", "high", "low", "close", "held"):
        setattr(result, name, walk[:, None] * 1.0)
    result.level = np.tile(np.repeat([0, 1], 50), n // 100).astype(np.int8)
    raw, left_out = pack(result)
    header, arrays = unpacked(raw)
    assert left_out["bucket"] == header["bucket"] == 13 and header["candles"] is False
    assert len(arrays["t"]) == len(arrays["close0"]) == 20_001 and len(raw) < MOST_BYTES
    assert arrays["close0"].min() == 1.0 and arrays["close0"].max() == np.float32(walk.max())
    assert arrays["t"][-1] == result.close_ns[-1] / 1e6 and arrays["equity"][-1] == np.float32(walk[-1])
    assert np.all(np.diff(arrays["t"]) > 0)
    assert len(header["spans"]) == 400 and header["spans"] == sorted(header["spans"])
    assert "of every 13 bars the lowest and the highest" in shell(page_html(result))


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=300), st.integers(2, 40))
def test_thinning_keeps_what_sticks_out(values: list[float], limit: int) -> None:
    curve = np.array(values)
    times = np.arange(len(curve), dtype=np.int64) * HOUR_NS
    thin = Thinner(times, limit)
    kept = thin(curve)
    assert len(kept) == len(thin.times) <= max(limit + 3, len(curve))
    assert np.all(np.diff(thin.times) >= 0)
    whole = len(curve) // thin.width * thin.width
    seen = curve[:whole]
    if np.isfinite(seen).any():
        assert np.nanmin(kept) <= np.nanmin(seen) and np.nanmax(kept) >= np.nanmax(seen)
    np.testing.assert_equal(kept[-1], curve[-1])


def test_spells_on_the_ladder_are_found() -> None:
    result = made_result(6)
    result.level = np.array([0, 1, 1, 4, 0, 2], np.int8)
    ends = [int(ns) / 1e6 for ns in result.close_ns]
    hour = HOUR_NS / 1e6
    assert ladder_spans(result) == [
        (ends[0], ends[2], "NO_NEW_RISK"),
        (ends[2], ends[3], "HALTED"),
        (ends[5] - hour, ends[5], "REDUCE_ONLY"),
    ]


def test_writing_a_page_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = made_result(60, fills=np.zeros(0, FILL), rows=None)
    path = write_page(result, tmp_path / "deep" / "report.html")
    assert path.read_text(encoding="utf-8") == page_html(result)
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match="could not be written"):
        write_page(result, tmp_path / "file" / "report.html")
    for folder in (tmp_path, Path()):
        with pytest.raises(InputError, match="a folder, not a file"):
            write_page(result, folder)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["deep", "file"]
    page_module.plotly_bundle.cache_clear()
    monkeypatch.setattr(page_module, "find_spec", lambda name: None)
    with pytest.raises(WorkError, match="plotly"):
        page_html(result)
    page_module.plotly_bundle.cache_clear()


def test_a_browser_draws_the_charts(tmp_path: Path) -> None:
    path = write_page(hostile(), tmp_path / "report.html")
    shown, complaints = opened(path, "theme=dark&days=5&symbol=1", tmp_path)
    tags = Tags(shown).tags
    drawn = [attrs.get("id") for _, attrs in tags if "js-plotly-plot" in (attrs.get("class") or "").split()]
    assert drawn == ["equity", "price", "exposure"]
    assert next(attrs for tag, attrs in tags if tag == "html")["data-theme"] == "dark"
    assert "hidden" in next(attrs for _, attrs in tags if attrs.get("id") == "no-charts")
    assert sum(tag == "tr" for tag, _ in tags) > 25 and not any(tag == "img" for tag, _ in tags)
    assert "CONSOLE" not in complaints  # no error, and nothing refused by the page's own policy


# --- compare ----------------------------------------------------------------------------------------------------------
def test_compare_shows_what_differs() -> None:
    one, other = made_result(1000), made_result(1000, params={"entry": 0.5, "exit": 0.1}, strategy="ema-cross")
    found = compare([one, other])
    assert dict(found.differences) == {"strategy": ("mood-flow", "ema-cross"), "params.entry": ("0.35", "0.5")}
    assert found.inputs == () and not any("facts" in text for text in found.warnings)
    text = comparison_text(found, 100)
    assert "params.entry" in text and max(len(line) for line in text.splitlines()) <= 100
    assert json.loads(json.dumps(found.json(), allow_nan=False))["differences"]["params.entry"] == ["0.35", "0.5"]
    assert len(found.runs) == 2 and found.runs[0]["id"] == one.id


def test_compare_warns_of_other_facts_spans_and_markets() -> None:
    one = made_result(1000)
    shares = [*one.inputs[1:], InputShare("bars", "BTC/USDT 1h", "synthetic", 999, 0, 1, "ff" * 32, {})]
    other = made_result(900, inputs=shares, synthetic=False, quote="USDC")
    warnings = " ".join(compare([one, other]).warnings)
    for told in ("did not see the same facts", "different spans", "different currencies", "synthetic market", "No"):
        assert told.lower() in warnings.lower(), told
    more = made_result(1000, inputs=one.inputs[:-1])
    assert any("different inputs" in text for text in compare([one, more]).warnings)


def test_one_run_can_not_be_compared() -> None:
    with pytest.raises(InputError, match="two runs"):
        compare([made_result(50)])
