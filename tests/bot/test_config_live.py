"""The sections of a session on a venue: what they read, what they refuse, and that they repeat no secret."""

from pathlib import Path

import pytest

from bot.config import Config, Places, check, load_config
from bot.config_faults import toml_text
from bot.config_sections import Limits
from bot.limit_table import limits_hash, missing_limits, refuse_defaults
from data.errors import InputErrors
from tests.bot.test_config import SMALL, faults_of, write


def test_sections_of_a_session_are_read(tmp_path: Path) -> None:
    """Timers, endpoints and notices arrive as plain values; `none` disarms the venue's timer and reads back."""
    text = """
[exchange]
id = "kraken"
urls = { rest = "http://127.0.0.1:8080", stream = "ws://10.0.0.3/stream", user = "wss://gateway.example/user" }
recv_window = "3s"
options = { defaultType = "spot", warn = false, limit = 5 }
[live]
dead_man = "none"
foreign_share = "0%"
[notify]
urls = ["env:BELL", "syslog://", "json://127.0.0.1:9000/bell"]
on = ["fill"]
daily = "23:59"
heartbeat_url = "https://pulse.example/a"
[metrics]
port = 0
"""
    config = load_config(write(tmp_path, SMALL + text))
    assert config.exchange.urls["stream"] == "ws://10.0.0.3/stream"
    assert config.exchange.options == {"defaultType": "spot", "warn": False, "limit": 5}
    assert (config.exchange.recv_window, config.live.dead_man) == (3 * 10**9, 0)
    assert config.notify.daily == (23 * 60 + 59) * 60 * 10**9
    assert (config.notify.on, config.metrics.port) == (("fill",), 0)
    again = check(config.plain(), places=Places("x"), folder=Path())
    assert again.plain() == config.plain()
    assert Config().live.dead_man == 60 * 10**9


def test_settings_reach_the_sections_of_a_session(tmp_path: Path) -> None:
    """`--set` gives numbers, switches, lists and tables' entries as text."""
    settings = ["metrics.port=0", "live.canary=true", "notify.on=fill,daily", "exchange.urls.rest=http://127.0.0.1:1"]
    config = load_config(write(tmp_path, SMALL), settings)
    assert (config.metrics.port, config.live.canary, config.notify.on) == (0, True, ("fill", "daily"))
    assert config.exchange.urls == {"rest": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    "text",
    [
        '[notify]\nurls = ["discord://CANARY"]',
        '[notify]\nurl = "discord://CANARY"',
        '[notify]\nheartbeat_url = "https://me:CANARY@pulse.example"',
        '[notify]\nurls = 5\non = ["CANARY"]',
        'notify = "CANARY"',
        '[exchange]\napiKey = "CANARY"',
        '[exchange]\noptions = { secret = "CANARY" }',
        '[exchange]\nurls = { rest = "https://me:CANARY@gateway.example" }',
        'apiSecret = "CANARY"',
        '[live]\nexchange_key = "CANARY"',
        '[keys]\nsecret = "CANARY"',
    ],
)
def test_no_message_repeats_what_may_be_a_secret(tmp_path: Path, text: str) -> None:
    """A key that somebody wrote into the file by mistake doesn't get from there into logs."""
    given_text = f"{text}\n{SMALL}" if text.startswith("notify") else SMALL + text
    assert "CANARY" not in " ".join(str(fault) for fault in faults_of(tmp_path, given_text))


def stated_limits() -> str:
    """Every limit at its example, as live asks for them."""
    lines = [
        f"{name} = {toml_text((field.examples or [''])[0])}"
        for name, field in Limits.model_fields.items()
        if name != "tag_share"
    ]
    return "[limits]\n" + "\n".join(lines) + "\n"


def test_live_misses_every_limit_that_is_left_out(tmp_path: Path) -> None:
    """All missing limits are named at once; with all of them stated there are none."""
    config = load_config(write(tmp_path, SMALL))
    names = missing_limits(config)
    assert len(names) == len(Limits.model_fields) - 1
    with pytest.raises(InputErrors) as caught:
        refuse_defaults(config)
    assert [error.key for error in caught.value.errors] == names  # type: ignore[attr-defined]
    stated = load_config(write(tmp_path, SMALL + stated_limits()))
    assert missing_limits(stated) == []
    refuse_defaults(stated)
    one = load_config(write(tmp_path, SMALL + stated_limits().replace("drawdown", "# drawdown")))
    assert missing_limits(one) == ["limits.drawdown"]


def test_the_hash_of_the_limits_changes_with_what_bounds_a_session_only(tmp_path: Path) -> None:
    """A limit, the allocation or leave for the unknown change it; the strategy, spelling and timers don't."""
    file = write(tmp_path, SMALL + stated_limits())
    told = limits_hash(load_config(file))
    same = ["run.strategy=mood-flow", "limits.drawdown=0.2", "live.name=other", "run.bar=60m", "notify.daily=01:00"]
    for setting in same:
        assert limits_hash(load_config(file, [setting])) == told, setting
    other = ["limits.drawdown=0.21", "limits.bar_age=3h", "run.cash=10001", "live.unknown_orders=3", "live.canary=true"]
    for setting in other:
        assert limits_hash(load_config(file, [setting])) != told, setting
