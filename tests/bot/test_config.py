"""The configuration: what it reads, and how it says what is wrong."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtest.run import new_desk
from bot.config import Config, Places, check, load_config
from bot.config_resolve import resolve_markets, resolve_run, resolve_strategy
from bot.config_types import (
    Cap,
    Fault,
    plain,
    read_cap,
    read_decimal,
    read_duration,
    read_money,
    read_share,
    write_share,
)
from bot.session.terms import with_markets
from bot.template import config_text
from data.errors import InputError, InputErrors, TidegateError
from data.times import HOUR_NS, format_duration, parse_time

SMALL = '[run]\nsymbols = ["BTC/USDT"]\n'


def write(folder: Path, text: str) -> Path:
    """A configuration file with that text."""
    file = folder / "run.toml"
    file.write_text(text, encoding="utf-8")
    return file


def faults_of(folder: Path, text: str, *settings: str) -> list[InputError]:
    """What is wrong with a configuration; fails when nothing is."""
    with pytest.raises(TidegateError) as caught:
        load_config(write(folder, text), settings)
    assert caught.value.exit_code == 2
    return caught.value.errors if isinstance(caught.value, InputErrors) else [caught.value]  # type: ignore[list-item]


def test_values_are_read_in_their_units(tmp_path: Path) -> None:
    """Money, durations, instants, shares and limits arrive as plain numbers."""
    text = """
[run]
symbols = ["BTC/USDT", "ETH/USDT"]
bar = "4h"
cash = "25_000.50"
since = 2024-01-01
until = "2024-02-01T12:00Z"
resume_after = "next day"
[params]
entry = 0.4
[fill]
participation = "5%"
[limits]
order_notional = "150%"
position_notional = "1000"
drawdown = 0.2
tag_share = { meme = "10%" }
[tags]
DOGE = "meme"
[market."BTC/USDT"]
tick = 0.1
[sources]
weights = { reddit = 0.5, news = 2 }
"""
    config = load_config(write(tmp_path, text))
    assert config.run.cash == Decimal("25000.50")
    assert config.run.bar == 4 * HOUR_NS
    assert (config.run.since, config.run.until) == (parse_time("2024-01-01"), parse_time("2024-02-01T12:00Z"))
    assert config.run.resume_after == -2
    assert config.fill.participation == 0.05
    assert config.limits.order_notional == Cap(Decimal("1.5"), True)
    assert config.limits.order_notional.of(200.0) == 300.0
    assert config.limits.position_notional == Cap(Decimal("1000"), False)
    assert config.limits.tag_share == {"meme": 0.1}
    assert config.market["BTC/USDT"].tick == 0.1
    assert config.sources.weights == {"reddit": 0.5, "news": 2.0}
    assert config.quote == "USDT"


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        ("cash = 1000", "run.cash", "money is quoted text"),
        ("cash = 1000.5", "run.cash", "money is quoted text"),
        ('cash = "-5"', "run.cash", "above 0"),
        ('cash = "1e3"', "run.cash", "not an amount"),
        ('baar = "1h"', "run.baar", "unknown key"),
        ('bar = "7m"', "run.bar", "divide a day"),
        ('bar = "0s"', "run.bar", "longer than 0"),
        ("bar = 60", "run.bar", "with its unit"),
        ('since = "2024-01-01T00:00"', "run.since", "without a time zone"),
        ("since = 2024-01-01T00:00:00", "run.since", "without a time zone"),
        ('since = "yesterday"', "run.since", "not an ISO date"),
        ("since = 2024-02-01\nuntil = 2024-01-01", "run.until", "span is empty"),
        ('market = "margin"', "run.market", "one of 'spot' or 'perp'"),
        ("leverage = 2.0", "run.leverage", "no leverage"),
        ('inside = "7m"', "run.inside", "divide"),
        ('inside = "2h"', "run.inside", "divide the bar (1h)"),
        ('risk_bar = "90m"', "run.risk_bar", "whole number of bars"),
        ('risk_bar = "30m"', "run.risk_bar", "whole number of bars"),
        ('size = "notional"', "run.stake", "needs a stake"),
        ('stake = "10"', "run.stake", "means nothing"),
        ('resume_after = "soon"', "run.resume_after", "not a policy"),
        ("strategy = 3", "run.strategy", "has to be text"),
        ('[fill]\nprofile = "kind"', "fill.profile", "one of"),
        ("[fill]\nparticipation = 2", "fill.participation", "at most 1"),
        ('[fill]\ntouch = "perhaps"', "fill.touch", "true or false"),
        ('[fill]\nfunding = "free"', "fill.funding", "neither stored nor a rate"),
        ("[fill]\ntaker_bps = -1", "fill.taker_bps", "at least 0"),
        ("[execution]\nchases = 1.5", "execution.chases", "whole number"),
        ("[limits]\norder_notional = 100", "limits.order_notional", "quoted text"),
        ("[limits]\ndrawdown = 20", "limits.drawdown", "at most 1"),
        ("[limits]\nrepeat_orders = 100001", "limits.repeat_orders", "at most 100000"),
        ("[limits]\nflood_share = 0", "limits.flood_share", "above 0"),
        ("[limits]\nmood_jump = 0", "limits.mood_jump", "above 0"),
        ("[sources]\nweights = { x = -1 }", "sources.weights.x", "at least 0"),
        ("[limits]\ndaily_loss = 0.2\ndaily_loss_flatten = 0.1", "limits", "nearer than daily_loss"),
        ('[limits]\ntag_share = { meme = "10%" }', "limits.tag_share.meme", "no coin has this tag"),
        ("[params]\nentry = true\nexit = 'x'", "params.exit", "has to be a number"),
        ("[runs]\nx = 1", "runs", "unknown section"),
        ('[exchange]\nid = "Binance"', "exchange.id", "not an exchange's name"),
        ('[exchange]\naccount = "a/b"', "exchange.account", "not a name"),
        ('[exchange]\nurls = { rest = "http://gateway.example" }', "exchange.urls", "not encrypted"),
        ('[exchange]\nurls = { rest = "wss://gateway.example" }', "exchange.urls", "has to begin with http://"),
        ('[exchange]\nurls = { stream = "https://gateway.example" }', "exchange.urls", "has to begin with ws://"),
        ('[exchange]\nurls = { rest = "gateway" }', "exchange.urls", "not an address"),
        ('[exchange]\nurls = { rest = "https://me:pw@gateway.example" }', "exchange.urls", "carries a secret"),
        ("[exchange]\nsandbox = true\ndemo = true", "exchange.demo", "two different venues"),
        ('[exchange]\ntimeout = "5s"', "exchange.timeout", "longer than recv_window (5s)"),
        ('[exchange]\nrecv_window = "2m"', "exchange.recv_window", "longer than any venue allows"),
        ('[exchange]\noptions = { apiKey = "abc" }', "exchange.options", "is a secret"),
        ("[exchange]\noptions = { maxRetriesOnFailure = 2 }", "exchange.options", "would repeat orders"),
        ('[live]\nname = "../else"', "live.name", "not a name"),
        ('[live]\nheartbeat_after = "1s"', "live.heartbeat_after", "healthy pause"),
        ('[live]\ndead_man = "never"', "live.dead_man", "neither a duration nor none"),
        ('[live]\ndead_man = "3s"', "live.dead_man", "shorter than the time to arm"),
        ("[live]\nposts_queue = 0", "live.posts_queue", "at least 1"),
        ('[notify]\nurls = ["discord://123/abc"]', "notify.urls", "may hold a secret"),
        ('[notify]\nurls = ["json://hooks.example/abc"]', "notify.urls", "may hold a secret"),
        ('[notify]\nurls = ["env:"]', "notify.urls", "may hold a secret"),
        ('[notify]\non = ["fill", "fun"]', "notify.on.1", "one of"),
        ('[notify]\ndaily = "24:00"', "notify.daily", "not a time of day"),
        ('[notify]\nheartbeat_url = "ping"', "notify.heartbeat_url", "neither an address"),
        ("[metrics]\nport = 70000", "metrics.port", "at most 65535"),
        ("[market.'XRP/USDT']\ntick = 1", "market.XRP/USDT", "not one of run.symbols"),
        ("[market.'BTC/USDT']\nlot = 0", "market.BTC/USDT.lot", "above 0"),
    ],
)
def test_a_fault_names_file_key_value_and_remedy(tmp_path: Path, text: str, key: str, what: str) -> None:
    """One wrong key, one error that says so."""
    found = [fault for fault in faults_of(tmp_path, SMALL + text) if fault.key == key]
    assert len(found) == 1
    assert what in found[0].what
    assert found[0].where == str(tmp_path / "run.toml")
    assert found[0].remedy


@pytest.mark.parametrize(
    ("symbols", "what"),
    [
        ("[]", "no symbol"),
        ('["BTC/USDT", "ETH/USD"]', "several quote currencies (USD, USDT)"),
        ('["BTC/USDT", "BTC/USDT"]', "stands twice"),
        ('["BTCUSDT"]', "not a symbol"),
        ('["btc/usdt"]', "not a symbol"),
        ('["BTC/USDT:USDT"]', "a perpetual in a spot run"),
        ("5", "has to be a list"),
    ],
)
def test_symbols(tmp_path: Path, symbols: str, what: str) -> None:
    """One wallet has one quote currency, and a symbol has one form."""
    found = faults_of(tmp_path, f"[run]\nsymbols = {symbols}\n")
    assert any(what in fault.what for fault in found)


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    """Faults of several sections, also those across sections, come in one error; one hides no other."""
    text = """
[run]
symbols = ["BTC/USDT", "ETH/USD"]
cash = 5
bar = "x"
since = 2024-02-01
until = 2024-01-01
[fill]
spred_bps = 1
[limits]
drawdown = 3
[other]
"""
    found = faults_of(tmp_path, text, "run.leverage=3")
    assert {fault.key for fault in found} == {
        "run.symbols", "run.cash", "run.bar", "run.until", "run.leverage", "fill.spred_bps", "limits.drawdown", "other",
    }  # fmt: skip
    assert "--set" in {fault.where for fault in found if fault.key == "run.leverage"}
    assert "'spread_bps'" in next(fault.remedy or "" for fault in found if fault.key == "fill.spred_bps")


def test_settings_of_the_command_line_win(tmp_path: Path) -> None:
    """`--set` replaces parameters by their bare name and any other key by its path, money and lists included."""
    settings = [
        "entry=0.5",
        "run.cash=2500",
        "run.symbols=ETH/USDT,SOL/USDT",
        "limits.order_notional=10%",
        "fill.touch=true",
    ]
    config = load_config(write(tmp_path, SMALL + "[params]\nentry = 0.1\n"), settings)
    assert config.params == {"entry": 0.5}
    assert config.run.cash == 2500
    assert config.run.symbols == ("ETH/USDT", "SOL/USDT")
    assert config.limits.order_notional == Cap(Decimal("0.1"), True)
    assert config.fill.touch is True
    assert config.place_of("run.cash") == "--set"
    assert config.place_of("run.bar") == str(tmp_path / "run.toml")


@pytest.mark.parametrize("key", ['market."BTC/USDT".lot', "market.'BTC/USDT'.lot", "market.BTC/USDT.lot"])
def test_a_setting_may_be_named_as_in_the_file(tmp_path: Path, key: str) -> None:
    file = tmp_path / "tidegate.toml"
    file.write_text('[run]\nsymbols = ["BTC/USDT"]\n', encoding="utf-8")
    lot = load_config(file, [f"{key}=0.25"]).market["BTC/USDT"].lot
    assert lot is not None and float(lot) == 0.25


@pytest.mark.parametrize("setting", ["entry", "=3", "run.=3", ".x=1", 'market."BTC/USDT.lot=1', '""=1'])
def test_a_setting_without_name_or_value_is_refused(setting: str) -> None:
    """The remedy shows both forms."""
    with pytest.raises(InputError, match="--set entry=0.4"):
        load_config(None, [setting], base={"run": {"symbols": ["BTC/USDT"]}})


def test_names_that_other_tools_have_lead_to_ours(tmp_path: Path) -> None:
    """Also where the words alone are nearer to another key; a wrong section is blamed on who gave it."""
    named = {"run.start": "since", "run.end": "until", "run.timeframe": "bar", "run.pair": "symbols"}
    found = faults_of(tmp_path, SMALL, *(f"{key}=1h" for key in named), "rum.since=2024-01-01")
    assert {one.key: one.remedy for one in found if one.key in named} == {
        key: f"Did you mean {ours!r}" for key, ours in named.items()
    }
    [section] = [one for one in found if one.key == "rum"]
    assert (section.where, section.what, section.remedy) == ("--set", "unknown section", "Did you mean 'run'")


@pytest.mark.parametrize(
    ("content", "what"), [(b"[run\n", "not valid TOML"), (b"\xff\xfe", "not a UTF-8"), (None, "no such file")]
)
def test_unreadable_files(tmp_path: Path, content: bytes | None, what: str) -> None:
    """Missing, no TOML, no text: each is said."""
    file = tmp_path / "run.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=what) as caught:
        load_config(file)
    assert str(file) in str(caught.value)


def test_hash_depends_on_values_only(tmp_path: Path) -> None:
    """Layout, spelling of the same value and the file's name don't count; a value does."""
    one = load_config(write(tmp_path, SMALL + 'cash = "10000"\nbar = "1h"\n'))
    two = load_config(None, base={"run": {"bar": "60m", "symbols": ["BTC/USDT"]}})
    other = load_config(None, ["run.cash=10001"], base={"run": {"symbols": ["BTC/USDT"]}})
    assert one.hash() == two.hash() != other.hash()


def test_plain_values_read_back(tmp_path: Path) -> None:
    """What a result stores of its configuration is a configuration."""
    settings = [
        "run.since=2024-01-01T10:00:00.5Z",
        "limits.order_notional=12.5%",
        "run.resume_after=12h",
        "fill.latency_ms=3",
    ]
    config = load_config(write(tmp_path, SMALL), settings)
    again = check(config.plain(), places=Places("x"), folder=Path())
    assert again.hash() == config.hash()


def test_relative_files_start_at_the_configuration(tmp_path: Path) -> None:
    """A strategy file beside the configuration is found from any folder; names of shipped ones stay."""
    file = write(tmp_path, SMALL + 'strategy = "mine.py:Mine"\n')
    assert load_config(file).strategy_text() == f"{tmp_path / 'mine.py'}:Mine"
    assert load_config(file, ["run.strategy=/else/where.py"]).strategy_text() == "/else/where.py"
    assert load_config(file, ["run.strategy=mood-flow"]).strategy_text() == "mood-flow"
    assert load_config(file, ["run.strategy=package.module:Class"]).strategy_text() == "package.module:Class"


def test_the_template_reads_back_as_the_defaults(tmp_path: Path) -> None:
    """What `init` writes is valid, shows every key, and changes no default but the ones it means to."""
    text = config_text()
    config = load_config(write(tmp_path, text))
    lines = [line.lstrip("# ") for line in text.splitlines()]
    shown = [line.split(" = ")[0] for line in lines if " = " in line]
    for section in ("run", "fill", "execution", "limits", "aliases", "exchange", "live", "notify", "metrics"):
        for name in type(getattr(config, section)).model_fields:
            assert name in shown, f"{section}.{name} is not in the template"
    assert config.limits == Config().limits
    assert config.fill == Config().fill
    assert config.execution == Config().execution
    assert (config.exchange, config.live) == (Config().exchange, Config().live)
    assert (config.notify, config.metrics) == (Config().notify, Config().metrics)


def test_every_example_in_the_template_is_valid(tmp_path: Path) -> None:
    """Removing every # leaves a file whose only faults are keys that exclude each other."""
    text = config_text()
    body = [line for line in text.splitlines() if not line.startswith("# What") and " = " in line or "[" in line[:4]]
    lines = [line.removeprefix("# ") for line in body if not line.startswith(("# Money", "# Check"))]
    raw = "\n".join(lines).replace("# Check it", "")
    found = faults_of(tmp_path, raw)
    asked = [fault for fault in found if fault.what == "is missing" and (fault.key or "").startswith("feeds.")]
    rest = {fault.key for fault in found if fault not in asked}  # of a vendor's own address nobody knows an example
    assert rest <= {"run.stake", "run.inside", "limits.tag_share.memecoin"}


EXAMPLES = re.findall(r"^(?:# )?(\[.+?\])|^# (\w+ = .+?)  +#", config_text(), re.MULTILINE)


def test_a_run_can_begin_with_each_example(tmp_path: Path) -> None:
    """Costs, orders, limits and the venue's grid: every shown value alone reaches the records that kernels read."""
    section, seen = "", 0
    tags = '[tags]\nDOGE = "memecoin"\n'
    for title, line in EXAMPLES:
        section = title or section
        if not line or section.strip("[]").partition(".")[0] not in ("fill", "execution", "limits", "market"):
            continue
        file = write(tmp_path, f'{SMALL.strip()}\nstrategy = "buy-and-hold"\n{tags}{section}\n{line}\n')
        config = load_config(file)
        spec = with_markets(resolve_run(config, resolve_strategy(config)), {}, {"BTC/USDT": 3e4})
        desk = new_desk(spec)
        assert desk.account["cash"] == 10_000
        seen += 1
    assert seen > 40


def test_what_is_stated_of_a_market_reaches_the_desk(tmp_path: Path) -> None:
    """Each value in its unit; what isn't stated is assumed, and marked so."""
    grid = 'tick = 0.5\nlot = 0.001\nmin_notional = "7.5"\nmax_quantity = 40\nmaintenance = "0.8%"\n'
    config = load_config(write(tmp_path, f"{SMALL}[market.'BTC/USDT']\n{grid}"))
    market = resolve_markets(config)["BTC/USDT"]
    assert market.record(-1) == (0.5, 0.001, 7.5, 40.0, 0.008, -1) and not market.assumed
    config = load_config(write(tmp_path, f"{SMALL}[market.'BTC/USDT']\nmaintenance = 0.01\n"))
    market = resolve_markets(config)["BTC/USDT"]
    assert market.maintenance == 0.01 and market.assumed


def test_a_maintenance_margin_that_no_position_could_meet(tmp_path: Path) -> None:
    """Liquidated as it opens: refused, with the leverage that would do."""
    perp = 'market = "perp"\nleverage = 20.0\n'
    (fault,) = faults_of(tmp_path, f"{SMALL}{perp}[market.'BTC/USDT']\nmaintenance = '5%'\n")
    assert fault.key == "market.BTC/USDT.maintenance" and "liquidated as it opens" in fault.what
    assert "below 20" in (fault.remedy or "")
    load_config(write(tmp_path, f"{SMALL}{perp}[market.'BTC/USDT']\nmaintenance = '4.9%'\n"))
    load_config(write(tmp_path, f"{SMALL}[market.'BTC/USDT']\nmaintenance = '5%'\n"))


@given(st.decimals(min_value="0.01", max_value="1e12", places=2))
def test_money_reads_back_to_the_cent(amount: Decimal) -> None:
    """Text and number are the same money."""
    assert read_money(plain(amount)) == amount


@given(st.floats(min_value=1e-9, max_value=1.0))
def test_shares_read_back(share: float) -> None:
    """A share written as a percentage is the same share."""
    assert read_share(write_share(share)) == pytest.approx(share, rel=1e-15)


@given(st.integers(min_value=0, max_value=10**17))
def test_durations_read_back(duration_ns: int) -> None:
    """A duration survives its text."""
    assert read_duration(format_duration(duration_ns)) == duration_ns


@given(st.one_of(st.booleans(), st.none(), st.text(), st.lists(st.integers()), st.floats(), st.integers()))
def test_readers_refuse_and_never_crash(value: Any) -> None:
    """Whatever TOML may hold is read or refused by name."""
    for reader in (read_money, read_share, read_cap, read_duration):
        try:
            reader(value)
        except Fault as fault:
            assert fault.what


@pytest.mark.parametrize("text", ["nan", "inf", "1e5", "", "1_", "--1", "１０", "0x10"])
def test_odd_numbers_are_no_money(text: str) -> None:
    """Only plain digits count as an amount."""
    number = read_decimal(text)
    assert number is None or number == Decimal(text.replace("_", ""))
