"""Logs, metrics, and what is said to systemd."""

import json
import logging
import os
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

import bot.operate.logs
from bot.operate.log_view import Filter, entries, follow, last_entries
from bot.operate.logs import CONTEXT, Logs, keep_secret, open_logs, readable
from bot.operate.metrics import Metrics
from bot.operate.service import manager_patience_s, tell_manager
from tests.bot.operate_bot import snapshot

LOG = logging.getLogger("tidegate.venue")


@pytest.fixture
def stream() -> StringIO:
    """Where the readable form goes."""
    return StringIO()


@pytest.fixture
def logs(tmp_path: Path, stream: StringIO) -> Iterator[Logs]:
    """Logging of a session, undone afterwards."""
    level = logging.getLogger().level
    opened = open_logs(tmp_path, session="0000beef", stream=stream)
    yield opened
    opened.close()
    logging.getLogger().setLevel(level)
    logging.getLogger("tidegate").setLevel(logging.NOTSET)


def lines(folder: Path) -> list[dict[str, object]]:
    """What is in the file."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_records_carry_session_and_event(tmp_path: Path, logs: Logs, stream: StringIO) -> None:
    """Session, number of the event in hand and extra fields are in the line; the form for people has them too."""
    CONTEXT.seq = 41
    LOG.info("order %d sent", 7, extra={"symbol": "BTC/USDT", "qty": 0.5})
    CONTEXT.seq = 42
    LOG.debug("not asked for")
    logging.getLogger("ccxt").info("somebody else's chatter")
    try:
        raise ValueError("broken")
    except ValueError:
        LOG.exception("failed")
    LOG.info("%d", "doesn't fit")
    logs.close()
    sent, failed, odd = lines(tmp_path)
    assert (sent["text"], sent["session"], sent["seq"], sent["symbol"], sent["qty"]) == (
        "order 7 sent", "0000beef", 41, "BTC/USDT", 0.5,
    )  # fmt: skip
    assert sent["level"] == "INFO" and sent["logger"] == "venue" and str(sent["time"]).endswith("Z")
    assert failed["seq"] == 42 and "ValueError: broken" in str(failed["error"])
    assert "doesn't fit" in str(odd["text"])
    shown = stream.getvalue().splitlines()
    assert shown[0].endswith("INFO     venue: order 7 sent  symbol=BTC/USDT  qty=0.5")
    assert shown[0] == readable(sent) and "Traceback" in stream.getvalue()


def test_secrets_are_struck_everywhere(tmp_path: Path, logs: Logs, stream: StringIO) -> None:
    """In text, arguments, extra fields and tracebacks."""
    secret = 'canary-"4711"-secret'
    keep_secret(secret)
    try:
        try:
            raise ValueError(f"url had {secret}")
        except ValueError:
            LOG.exception("key %s", secret, extra={"more": {"deep": [secret]}, "odd": Path(secret)})
        logs.close()
        text = (tmp_path / "log.jsonl").read_text() + stream.getvalue()
        assert "***" in text and "4711" not in text
    finally:
        bot.operate.logs._kept.remove(secret)


def test_rotation_and_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files turn at their size; reading goes over all of them in order, filtered."""
    monkeypatch.setattr(bot.operate.logs, "FILE_MAX", 2000)
    logs = open_logs(tmp_path, session="0000beef", stream=None)
    for number in range(40):
        LOG.log(logging.ERROR if number % 10 == 0 else logging.WARNING, "line %d", number, extra={"number": number})
    logs.close()
    assert (tmp_path / "log.jsonl.1").exists()
    assert [entry["number"] for entry in entries(tmp_path, Filter())] == list(range(40))
    assert [entry["number"] for entry in last_entries(tmp_path, Filter(level="ERROR"), 2)] == [20, 30]
    assert [entry["number"] for entry in entries(tmp_path, Filter(text="LINE 39"))] == [39]
    assert not list(entries(tmp_path, Filter(session="1"))) and not list(entries(tmp_path, Filter(logger="engine")))
    assert not list(entries(tmp_path, Filter(since_ns=time.time_ns())))
    with open(tmp_path / "log.jsonl", "ab") as file:
        file.write(b'{"torn')
    assert last_entries(tmp_path, Filter(), 1)[0]["text"] == '{"torn'


def test_following_over_a_turn(tmp_path: Path) -> None:
    """What is written while the file turns is shown once, in order; the past isn't."""
    file, seen, ended = tmp_path / "log.jsonl", [], threading.Event()
    file.write_text(json.dumps({"text": "past"}) + "\n")

    def read() -> None:
        seen.extend(str(entry["text"]) for entry in follow(tmp_path, Filter(), ended=ended.is_set, every_s=0.01))

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.1)
    with open(file, "a") as out:
        out.write('{"text": "one"}\n{"text": ')
    time.sleep(0.05)
    with open(file, "a") as out:
        out.write('"two"}\n')
    file.rename(tmp_path / "log.jsonl.1")
    file.write_text('{"text": "three"}\n')
    time.sleep(0.15)
    ended.set()
    reader.join()
    assert seen == ["one", "two", "three"]


def test_who_logs_never_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk stalls, records are dropped and counted; afterwards the log says how many."""
    stalled = threading.Event()
    write = bot.operate.logs._File.emit

    def stall(self: bot.operate.logs._File, record: logging.LogRecord) -> None:
        stalled.wait(5)
        write(self, record)

    monkeypatch.setattr(bot.operate.logs._File, "emit", stall)
    logs = open_logs(tmp_path, session="0000beef", stream=None, queue_max=10)
    began = time.monotonic()
    for number in range(500):
        LOG.warning("line %d", number)
    assert time.monotonic() - began < 1 and logs.dropped >= 480
    stalled.set()
    logs.close()
    assert any(str(entry["text"]).endswith("log records lost") for entry in lines(tmp_path))


def test_a_disk_that_refuses_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log that can't be written is counted, and no trouble to who logs."""
    logs = open_logs(tmp_path, session="0000beef", stream=None)
    LOG.warning("fits")
    while not (tmp_path / "log.jsonl").exists() or not (tmp_path / "log.jsonl").read_text():
        time.sleep(0.01)
    handler = logs._handlers[0]
    assert isinstance(handler, logging.FileHandler)
    handler.stream.close()
    handler.stream = open("/dev/full", "w")  # noqa: SIM115
    for _ in range(3):
        LOG.warning("doesn't fit")
    logs.close()
    assert logs.failed >= 3 and capsys.readouterr().err.count("can't be written") == 1


def scrape(port: int) -> dict[str, float]:
    """Figures by name."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        rows = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in rows}


def test_metrics_on_loopback() -> None:
    """Figures follow the last status; what isn't told is NaN, never the value before; they are on loopback only."""
    metrics = Metrics("live", "main")
    port = metrics.serve(0)
    try:
        assert scrape(port)["tidegate_ladder_level"] == 4  # before the first status: HALTED
        metrics.update({**snapshot(BTC=0.5, ETH=0.0), "exchange": {"up": True}})
        metrics.step_s.observe(2e-4)
        metrics.refusals.labels("price collar").inc()
        found = scrape(port)
        assert found["tidegate_equity"] == 10_234.5 and found["tidegate_drawdown"] == 0.021
        assert found["tidegate_ladder_level"] == 1 and found['tidegate_position{symbol="BTC/USDT"}'] == 0.5
        assert found['tidegate_position_notional{symbol="BTC/USDT"}'] == 50.0
        assert found['tidegate_orders{state="UNKNOWN"}'] == found["tidegate_unknown_orders"] == 1
        assert found['tidegate_feed_age_seconds{feed="bars ETH/USDT"}'] == 5400 and found["tidegate_exchange_up"] == 1
        assert found['tidegate_refusals_total{rule="price collar"}'] == 1
        assert found['tidegate_step_seconds_bucket{le="0.0005"}'] == 1
        metrics.update({})
        found = scrape(port)
        assert (
            found["tidegate_equity"] != found["tidegate_equity"] and 'tidegate_position{symbol="BTC/USDT"}' not in found
        )
        with socket.socket() as sock:
            sock.settimeout(0.2)
            assert sock.connect_ex(("127.0.0.2", port)) != 0
    finally:
        metrics.close()
        metrics.close()


@pytest.mark.parametrize("abstract", [False, True])
def test_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    """READY, WATCHDOG and STOPPING arrive as datagrams, at a path or an abstract name; nobody there is no fault."""
    name = f"@tidegate-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    assert not tell_manager("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    assert not tell_manager("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name[1:] if abstract else name)
        assert tell_manager("READY=1", "STATUS=two\nlines") and sock.recv(100) == b"READY=1\nSTATUS=two lines"
        assert tell_manager("WATCHDOG=1") and sock.recv(100) == b"WATCHDOG=1"


def test_manager_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a time that is meant for this process counts."""
    assert manager_patience_s() is None
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert manager_patience_s() == 30.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert manager_patience_s() is None
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert manager_patience_s() == 30.0
    monkeypatch.setenv("WATCHDOG_USEC", "soon")
    assert manager_patience_s() is None
