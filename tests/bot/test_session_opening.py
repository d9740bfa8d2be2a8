"""A session's folder: begun, taken up again, refused when it is another's or another run's."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.config import Config, load_config
from bot.drift import compare
from bot.drift_report import is_same
from bot.events import Bar, Event, Transfer
from bot.operate.direct_line import DOCUMENT_FILE
from bot.operate.latch import ACTIVE, write_latch
from bot.recover import Warm
from bot.replay import replay_batch, replay_engine
from bot.session import real
from bot.session.opening import Opened, folder_of, open_session
from bot.session.terms import engine_of, spec_of, spec_of_header, with_markets
from data.errors import InputError, RefusedError
from risk.limits import MarketSpec
from tests.bot.preflight_world import configured

HOUR = 3600 * 10**9
START = 1_704_067_200 * 10**9
STRATEGY = """from signals import EMA, Close
from strategies.base import Strategy


class Mine(Strategy):
    price = Close()
    average = EMA(4)
    stop_loss = 0.05

    @staticmethod
    def weigh(s, p):
        return {weight} if s.price > s.average else 0.0
"""


def config_of(folder: Path, *settings: str) -> Config:
    """A run of one symbol with a strategy file in that folder."""
    file = folder / "mine.py"
    if not file.exists():
        file.write_text(STRATEGY.format(weight=0.5), encoding="utf-8")
    run = {"symbols": ["BTC/USDT"], "strategy": str(file), "bar": "1h"}
    return load_config(None, settings, base={"run": run})


def bars(first: int, count: int) -> list[Bar]:
    """Hours of a price that goes up and down."""
    found = []
    for i in range(first, first + count):
        close = 100.0 + 3.0 * ((i // 5) % 2) + 0.5 * (i % 5)
        found.append(
            Bar(
                ns=START + (i + 1) * HOUR + 10**9, symbol="BTC/USDT", open_ns=START + i * HOUR,
                close_ns=START + (i + 1) * HOUR, open=close, high=close + 1.0, low=close - 1.0, close=close, volume=1e6,
            )
        )  # fmt: skip
    return found


def opened(config: Config, var: Path, *, warm: Iterable[Warm] = (), now_ns: int = START + 10 * HOUR) -> Opened:
    """The session of a configuration, begun or taken up."""
    market = MarketSpec(tick=0.01, lot=0.001, assumed=False)
    spec = with_markets(spec_of(config), {"BTC/USDT": market}, {})
    folder = folder_of(config, var, "paper")
    return open_session(
        config, spec, folder, mode="paper", now_ns=now_ns, person="me", outside=False, stops=True, warm=lambda: warm,
        tell=lambda text: None,
    )  # fmt: skip


def live(session: Opened, events: Iterable[Event]) -> None:
    """Handle and journal, as the bot does."""
    from bot.events import pack
    from bot.step import step_body

    engine = session.engine
    for event in events:
        event = replace(event, ns=max(event.ns, engine.now_ns + 1))
        step = engine.handle(event)
        session.journal.append(event.ns, "event", pack(event))
        if not step.empty:
            session.journal.append(event.ns, "step", step_body(step, engine.symbols, engine.names))
    session.journal.commit()


def state(session: Opened) -> Any:
    """What an engine is made of."""
    return session.engine.snapshot()


def test_a_session_is_taken_up_where_it_ended(tmp_path: Path) -> None:
    """Killed without a word: the next process has the same books, and the whole journal replays in one life."""
    config = config_of(tmp_path)
    first = opened(config, tmp_path / "var", warm=bars(0, 10))
    live(first, bars(10, 20))
    held = float(first.engine.desk.books["qty"][0])
    books = first.engine.desk.books.copy()
    first.close(START)
    second = opened(config, tmp_path / "var", now_ns=START + 40 * HOUR)
    assert not second.fresh and second.bot_id == first.bot_id and second.session != first.session
    assert second.engine.desk.books.tobytes() == books.tobytes() and float(books["qty"][0]) == held
    live(second, bars(41, 10))
    header = second.header
    found = replay_engine(engine_of(spec_of_header(header), header), second.journal)
    assert found.none and found.compared["decisions"] == 30
    second.close(START)


def test_a_changed_allocation_moves_in_as_units(tmp_path: Path) -> None:
    """run.cash from 10,000 to 15,000: equity grows, drawdown and the value of a unit don't; the replay knows it."""
    first = opened(config_of(tmp_path), tmp_path / "var", warm=bars(0, 10))
    live(first, bars(10, 5))
    account = first.engine.desk.account
    nav, equity = float(account["equity"] / account["units"]), float(account["equity"])
    first.close(START)
    second = opened(config_of(tmp_path, "run.cash=15000"), tmp_path / "var", now_ns=START + 40 * HOUR)
    account = second.engine.desk.account
    assert float(account["equity"]) == pytest.approx(equity + 5000.0)
    assert float(account["equity"] / account["units"]) == pytest.approx(nav)
    told = [record.body for record in second.journal.records(kinds=("event",)) if record.body["is"] == "Transfer"]
    assert [one["amount"] for one in told] == [5000.0] and Transfer.__name__ == told[0]["is"]
    header = second.header
    assert replay_engine(engine_of(spec_of_header(header), header), second.journal).none
    second.close(START)


def test_loosened_limits_of_the_gate_hold_from_the_next_session_on(tmp_path: Path) -> None:
    """The desk's own numbers are the present configuration's, and each session's record has those it ran under."""
    first = opened(config_of(tmp_path), tmp_path / "var", warm=bars(0, 10))
    first.close(START)
    second = opened(config_of(tmp_path, "limits.drawdown=11%"), tmp_path / "var", now_ns=START + 20 * HOUR)
    assert float(second.engine.desk.arrays["limits"]["drawdown"][0]) == 0.11
    hashes = {record.body["limits_hash"] for record in second.journal.records(kinds=("session",))}
    assert len(hashes) == 2
    second.close(START)


def test_longer_and_shorter_windows_of_orders_keep_what_was_sent(tmp_path: Path) -> None:
    """Controls 5 and 6 from session to session: room for as many orders as the limits count, the newest ones known."""

    def limited(hour: int, repeats: int) -> Config:
        return config_of(tmp_path, f"limits.orders_per_hour={hour}", f"limits.repeat_orders={repeats}")

    first = opened(limited(60, 3), tmp_path / "var", warm=bars(0, 10))
    live(first, bars(10, 60))
    sent = sorted(set(first.engine.desk.arrays["rate"].tolist()))[1:]
    entered = first.engine.desk.arrays["repeats"][0, 0].tolist()
    assert len(sent) > 8 and min(entered) > START
    first.close(START)
    for hour, repeats in ((900, 40), (901, 1), (24, 7)):
        session = opened(limited(hour, repeats), tmp_path / "var", now_ns=START + 80 * HOUR)
        arrays = session.engine.desk.arrays
        assert len(arrays["rate"]) == session.engine.desk.ref["rate_places"] == max(hour, 60)
        assert arrays["repeats"].shape == (1, 2, repeats) and int(arrays["limits"]["repeat_orders"][0]) == repeats
        assert set(sent[-min(len(sent), hour) :]) <= set(arrays["rate"].tolist())
        assert arrays["repeats"][0, 0, -1] == entered[-1]
        session.close(START)
    session = opened(limited(24, 7), tmp_path / "var", now_ns=START + 80 * HOUR)
    live(session, bars(81, 30))
    header, journal = session.header, session.journal
    spec = spec_of_header(header)
    assert replay_engine(engine_of(spec, header), journal).none
    assert replay_batch(spec, header["coins"], journal, outside=False, stops=True).none
    assert is_same(compare(spec, journal, header))
    session.close(START)


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("run.decision_delay=7s", "run.decision_delay"),
        ("limits.flood_z=9.0", "limits.flood_z"),
        ("run.risk_bar=4h", "run.risk_bar"),
        ("limits.flood_pause=7h", "limits.flood_pause"),
        ("run.decide_on=facts", "run.decide_on"),
        ("run.model=vader", "run.model"),
    ],
)
def test_what_signals_were_made_with_cannot_change_within_a_session(tmp_path: Path, setting: str, key: str) -> None:
    """The error names the key and the way out, and the lock is let go."""
    opened(config_of(tmp_path), tmp_path / "var", warm=bars(0, 10)).close(START)
    for _ in range(2):
        with pytest.raises(InputError, match="live.name") as caught:
            opened(config_of(tmp_path, setting), tmp_path / "var")
        assert caught.value.key == key
        assert f"{key}={caught.value.value}" == setting


@pytest.mark.parametrize(
    "setting",
    ["exchange.id=kraken", "exchange.account=second", "exchange.sandbox=true", "exchange.demo=true",
     "exchange.urls.rest=https://gateway.example"],
)  # fmt: skip
def test_a_session_is_not_taken_up_in_another_account(tmp_path: Path, setting: str) -> None:
    """What was bought in a test network isn't there with real money, and what lies there is somebody else's."""
    opened(config_of(tmp_path), tmp_path / "var", warm=bars(0, 10)).close(START)
    with pytest.raises(InputError, match="live.name") as caught:
        opened(config_of(tmp_path, setting), tmp_path / "var")
    assert str(caught.value.key).startswith("exchange.") and setting.startswith(str(caught.value.key))
    opened(config_of(tmp_path, "exchange.timeout=9s"), tmp_path / "var").close(START)


def test_what_a_live_session_left_for_a_halt_is_not_written_over_by_a_start_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process is started, and the folder stays as it is: `tidegate halt` finds account and symbols of the orders."""

    def never(*given: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(real, "start_process", never)
    first = configured(tmp_path)
    market = MarketSpec(tick=0.01, lot=0.001, assumed=False)
    folder, spec = folder_of(first, tmp_path / "var", "live"), with_markets(spec_of(first), {"BTC/USDT": market}, {})
    open_session(
        first, spec, folder, mode="live", now_ns=START, person="me", outside=True, stops=True, warm=list,
        tell=lambda text: None,
    ).close(START)  # fmt: skip
    write_latch(folder, ACTIVE, "me", "test", START)
    (folder / DOCUMENT_FILE).write_text("of the first start")
    for setting in ("exchange.account=second", "run.symbols=ETH/USDT", "run.bar=4h"):
        with pytest.raises(InputError, match="live.name"):
            real.run_live(
                configured(tmp_path, setting), tmp_path / "var", person="me", tell=lambda text: None, accepted=None,
                unknown_rights=False, shadow=False, take_over=False,
            )  # fmt: skip
    assert (folder / DOCUMENT_FILE).read_text() == "of the first start"


def test_an_edited_strategy_is_another_session(tmp_path: Path) -> None:
    """The journal names the strategy by its source."""
    opened(config_of(tmp_path), tmp_path / "var", warm=bars(0, 10)).close(START)
    (tmp_path / "mine.py").write_text(STRATEGY.format(weight=0.6), encoding="utf-8")
    with pytest.raises(InputError, match="changed"):
        opened(config_of(tmp_path), tmp_path / "var")


def test_one_bot_for_an_account(tmp_path: Path) -> None:
    """A second start while the first runs is refused and leaves it alone."""
    first = opened(config_of(tmp_path), tmp_path / "var", warm=bars(0, 10))
    with pytest.raises(RefusedError, match="one bot|process"):
        opened(config_of(tmp_path), tmp_path / "var")
    live(first, bars(10, 3))
    first.close(START)
