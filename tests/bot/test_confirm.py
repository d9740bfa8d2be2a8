"""The limits as they are shown before real money, and a person's word for them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bot.confirm import confirm, limits_text, words_of
from bot.limit_table import limits_hash
from data.errors import RefusedError
from tests.bot.preflight_world import ALL, BTC, configured


def never(prompt: str) -> str:
    """Nobody is asked."""
    raise AssertionError(prompt)


def test_confirm_by_hash(tmp_path: Path) -> None:
    """At least 12 characters of these limits' hash; anything else is refused with the command that would do."""
    config = configured(tmp_path)
    whole = limits_hash(config)
    for given in (whole, whole[:12], f" {whole[:20].upper()} "):
        assert confirm(config, given, ask=never, interactive=True) == "hash"
    for given in ("", "yes", whole[:11], whole + "0", "0" * 12, whole[1:20], f"{whole[:12]}g"):
        with pytest.raises(RefusedError, match=f"tidegate live .*tidegate.toml --yes-i-.* {whole[:12]}$"):
            confirm(config, given, ask=never, interactive=True)
    other = configured(tmp_path, "limits.drawdown=30%")
    with pytest.raises(RefusedError, match="aren't the limits that were accepted.*same --set"):
        confirm(other, whole, ask=never, interactive=True)


def test_confirm_by_typing(tmp_path: Path) -> None:
    """Exactly the words shown; another amount, venue or a mere yes is refused; nobody there is refused."""
    config = configured(tmp_path)
    assert words_of(config) == "trade 10000 USDT on binance"
    shown: list[str] = []

    def typed(text: str) -> Callable[[str], str]:
        return lambda prompt: shown.append(prompt) or text  # type: ignore[func-returns-value]

    assert confirm(config, None, ask=typed("trade 10000 USDT on binance\n"), interactive=True) == "typed"
    assert words_of(config) in shown[0]
    for text in (
        "",
        "y",
        "yes",
        "trade 1000 USDT on binance",
        "Trade 10000 USDT on binance",
        "trade 10000 USDT on kraken",
    ):
        with pytest.raises(RefusedError, match="not confirmed"):
            confirm(config, None, ask=typed(text), interactive=True)
    with pytest.raises(RefusedError, match=limits_hash(config)[:12]):
        confirm(config, None, ask=never, interactive=False)
    sandbox = configured(tmp_path, "exchange.sandbox=true")
    assert words_of(sandbox) == "trade 10000 USDT on binance sandbox"
    with pytest.raises(RefusedError):
        confirm(sandbox, None, ask=typed("trade 10000 USDT on binance"), interactive=True)


def test_what_is_confirmed_is_shown(tmp_path: Path) -> None:
    """Every limit with its money and number, the venue, endpoints, test networks; never wider than asked."""
    limits = ALL + 'tag_share = { major = "80%" }\n[tags]\nBTC = "major"\n'
    config = configured(tmp_path, "exchange.urls.rest=http://127.0.0.1:9", "live.canary=true", limits=limits)
    for width in (80, 120):
        text = limits_text(config, width=width)
        assert max(len(line) for line in text.splitlines()) <= width
        rows = [" ".join(line.split()) for line in text.splitlines()]
        assert any(row.startswith("order_notional 2,500.00 USDT (25%) 4 largest order") for row in rows)
        assert any(row.startswith("drawdown 2,000.00 USDT (20%) 12 fall") for row in rows)
        assert any(row.startswith("tag_share major 8,000.00 USDT") for row in rows)
        for name in (*type(config.limits).model_fields, "live.unknown_orders", "live.clock_offset"):
            assert any(row.startswith(f"{name} ") for row in rows), name
        for told in ("REAL MONEY", "binance, account test", "http://127.0.0.1:9", limits_hash(config), BTC, "canary"):
            assert told in text, told
    assert "no real money" in limits_text(configured(tmp_path, "exchange.sandbox=true"))
    assert "DEMO" in limits_text(configured(tmp_path, "exchange.demo=true"))
    assert "0.0005 BTC" in limits_text(configured(tmp_path, "run.symbols=ETH/BTC", "run.cash=0.05"))
