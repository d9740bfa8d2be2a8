"""A configuration for real money, for the tests of what comes before a live session."""

from pathlib import Path

from bot.config import Config, load_config

NOW = 1_700_000_000 * 10**9
BTC = "BTC/USDT"
ALL = """
[limits]
order_notional = "25%"
orders_per_minute = 20
orders_per_hour = 200
exit_reserve = "50%"
rate_breaches = 3
repeat_orders = 10
repeat_window = "1m"
position_notional = "50%"
gross_notional = "100%"
net_notional = "100%"
gross_leverage = 1.0
asset_share = "50%"
daily_loss = "5%"
daily_loss_flatten = "8%"
drawdown = "20%"
loss_streak = 6
loss_streak_pause = "12h"
price_collar_bps = 300
bar_age = "2h"
signal_age = "2d"
novelty_return_z = 8
novelty_volume_z = 12
novelty_pause = "6h"
flood_posts = 30
flood_z = 8
flood_share = "60%"
flood_pause = "12h"
mood_jump = 0.3
turnover_per_day = "400%"
fees_per_day = "1%"
strategy_errors = 5
"""
RUN = '[run]\nsymbols = ["BTC/USDT"]\nstrategy = "{0}"\ncash = "10000"\n'
EXCHANGE = '[exchange]\nid = "binance"\naccount = "test"\n'


def configured(tmp_path: Path, *settings: str, strategy: str = "buy-and-hold", limits: str = ALL) -> Config:
    """A configuration for real money."""
    file = tmp_path / "tidegate.toml"
    file.write_text(RUN.format(strategy) + EXCHANGE + limits)
    return load_config(file, settings)
