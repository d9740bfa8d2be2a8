"""`tidegate trades` and the readers of a journal's steps."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from bot import verbs_journal
from bot.events import Report, pack
from bot.journal import Journal, JournalError, MemoryJournal
from bot.journal.tables import Trade, entries, trades

APP = typer.Typer()
verbs_journal.register(APP)
NS = 1_700_000_000 * 10**9


def fill(order: int, qty: float, **other: Any) -> dict[str, Any]:
    """A fill as a step tells of it."""
    told = {"ns": NS + order, "order": order, "maker": 0, "qty": qty, "price": 42_000.1, "fee": 0.42, "fee_base": 0.0,
            "slippage": 0.1, "held": 0.01, "realised": -0.42, "symbol": "BTC/USDT", "purpose": "entry"}  # fmt: skip
    return told | other


def act(journal: Journal | MemoryJournal) -> None:
    """A decision, an order of it filled by two reports, one of them twice, and an exit on the simulated venue."""
    journal.append(NS, "event", {"is": "Tick", "ns": NS})
    moves = [{"kind": "ladder", "level": "NO_NEW_RISK", "was": "ACTIVE"}]
    decided = {"decisions": [{"ns": NS, "symbols": {}}], "orders": [{"id": 7}], "moves": moves, "commands": []}
    journal.append(NS, "step", decided)
    journal.append(NS, "sent", {"order": 7})
    for number, trade in enumerate(("t1", "t2", "t2"), start=1):
        report = Report(ns=NS + number, order=7, what="filled", qty=0.004, price=42_000.1, trade=trade, venue_id="9")
        journal.append(NS + number, "event", pack(report))
        journal.append(NS + number, "alarm", {"text": "between them"})
        fills = [fill(7, 0.004 + number / 1e18)] if number < 3 else []
        journal.append(NS + number, "step", {"fills": fills} if fills else {})
    journal.append(NS + 9, "event", {"is": "Bar"})
    journal.append(NS + 9, "step", {"fills": [fill(8, -0.5, symbol="ETH/USDT", purpose="stop-loss", realised=12.5)]})
    journal.commit()


@pytest.fixture
def journal(var: Path) -> Iterator[Journal]:
    """The journal of a paper session that traded, and still runs."""
    folder = var / "paper" / "default"
    folder.mkdir(parents=True)
    with Journal.create(folder / "journal.sqlite", {"bot": "00c0ffee"}) as made:
        act(made)
        yield made


def run(*arguments: str | Path) -> Result:
    """The verb, in this process."""
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def test_trades_have_the_venues_ids(journal: Journal) -> None:
    """Each fill once, with the id of the report that it came of; a simulated fill has none."""
    memory = MemoryJournal({"bot": "00c0ffee"})
    act(memory)
    found = list(trades(journal))
    assert found == list(trades(memory))
    assert [(trade.side, trade.order, trade.trade) for trade in found] == [
        ("buy", 7, "t1"), ("buy", 7, "t2"), ("sell", 8, "")
    ]  # fmt: skip
    assert found[2] == Trade(
        ns=NS + 8, symbol="ETH/USDT", side="sell", qty=0.5, price=42_000.1, fee=0.42, fee_base=0.0, purpose="stop-loss",
        maker=False, order=8, trade="", realised=12.5, seq=journal.head()[0],
    )  # fmt: skip
    assert list(trades(journal, since=found[1].seq)) == found[2:]


def test_parts_of_steps(journal: Journal) -> None:
    """Decisions, orders and ladder moves come with the record that holds them; what isn't a step is named."""
    assert [(record.seq, entry["id"]) for record, entry in entries(journal, "orders")] == [(3, 7)]
    assert [entry["level"] for _, entry in entries(journal, "moves")] == ["NO_NEW_RISK"]
    assert len(list(entries(journal, "decisions"))) == 1 and not list(entries(journal, "refusals"))
    with pytest.raises(ValueError, match="no part 'fees'"):
        list(entries(journal, "fees"))
    journal.append(NS, "step", {"fills": [{"qty": 1}]})
    journal.append(NS, "step", {"moves": [1]})
    journal.commit()
    with pytest.raises(JournalError, match=r"record 16 is no step: a fill can't be read \(KeyError: 'order'\)"):
        list(trades(journal))
    with pytest.raises(JournalError, match="record 17 is no step: its moves are no list of entries"):
        list(entries(journal, "moves"))


def test_trades_verb(journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table with its sums, the newest, one symbol's, JSON, and CSV that keeps every digit; while the bot runs."""
    monkeypatch.chdir(tmp_path)
    done = run("trades")
    assert done.exit_code == 0 and "3 trades, fees 1.26, realised +11.66 after fees" in done.stdout, done.output
    assert "2023-11-14 22:13:20 UTC" in done.stdout and "stop-loss" in done.stdout and "t2" in done.stdout
    assert [each["trade"] for each in json.loads(run("trades", "--symbol", "BTC/USDT", "--json").stdout)] == [
        "t1",
        "t2",
    ]
    assert [each["order"] for each in json.loads(run("trades", "--last", "1", "--json").stdout)] == [8]
    file = tmp_path / "trades.csv"
    assert run("trades", "--csv", file).exit_code == 0
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["qty"]) for row in rows] == [trade.qty for trade in trades(journal)]
    assert rows[0]["ns"] == str(NS + 7) and rows[0]["time"] == "2023-11-14 22:13:20 UTC"
    assert "exists already" in str(run("trades", "--csv", file).exception)
    assert run("trades", "--journal", journal.file, "--symbol", "X/Y").stdout == "no trades yet\n"
