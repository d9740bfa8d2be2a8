"""`doctor --live`: over a process of its own, over a running session's, without a key, without a venue."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import bot.doctor
from bot import doctor_live
from bot.cli import app
from bot.operate.latch import ACTIVE, write_latch
from bot.operate.lock import acquire
from bot.session.terms import spec_of
from tests.bot.exchange_worlds import MONEY, PRICES, world
from tests.bot.preflight_world import NOW, configured
from tests.venue.doorman import Key
from tests.venue.server import API_KEY, SECRET, LocalVenue


def doctor(*arguments: str) -> Result:
    """The verb, without its look at the machine."""
    return CliRunner().invoke(app, ["doctor", *arguments])


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No look at the machine, and no key of a person's."""
    monkeypatch.setattr(bot.doctor, "examine", lambda var: [])
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


@pytest.mark.usefixtures("bare")
def test_doctor_over_a_real_exchange_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, var: Path) -> None:
    """Key, markets, balances and others' orders of a venue, read by a process that can't place; nothing is left."""
    configured(tmp_path)
    file = str(tmp_path / "tidegate.toml")

    monkeypatch.setenv("TIDEGATE_TEST_KEY", API_KEY)
    monkeypatch.setenv("TIDEGATE_TEST_SECRET", SECRET)

    async def run() -> tuple[Result, set[str]]:
        async with LocalVenue(balances={"USDT": "15000", "BTC": "2"}, prices={"BTCUSDT": "50000"}) as venue:
            urls = [f"--set=exchange.urls.rest={venue.rest_url}", f"--set=exchange.urls.stream={venue.ws_url}"]
            done = await asyncio.to_thread(doctor, file, "--live", "--json", *urls)
            return done, {str(request["label"]) for request in venue.requests}

    done, asked = asyncio.run(run())
    found = {one["check"]: one for one in json.loads(done.stdout)}
    assert done.exit_code == 0, done.stdout
    assert found["key"]["status"] == "ok" and found["markets"]["status"] == "ok"
    assert found["foreign"]["status"] == "warn" and "2 BTC" in found["foreign"]["found"]
    assert found["balance"]["found"].startswith("15,000 USDT")
    assert {"rights", "account", "open-orders"} <= asked and not asked & {"place", "cancel", "cancel-all", "test-order"}
    assert not (var / "live").exists() and SECRET not in done.output


@pytest.mark.usefixtures("bare")
def test_doctor_asks_a_running_sessions_process(tmp_path: Path, var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a bot runs, its own exchange process is asked, and its documents stay as they are."""
    configured(tmp_path)

    async def run() -> Result:
        keys = {API_KEY: Key(SECRET, withdraw=True)}
        async with world(var / "live", venue=LocalVenue(balances=MONEY, prices=PRICES, keys=keys)) as there:
            write_latch(there.folder, ACTIVE, "ann", "a test", NOW)
            lock = acquire(there.folder, session="11112222", bot_id="0a1b2c3d", now_ns=NOW)
            before = sorted(path.name for path in there.folder.iterdir())
            arguments = (str(tmp_path / "tidegate.toml"), "--live", "--json", "--set=live.name=s")
            done = await asyncio.to_thread(doctor, *arguments)
            assert sorted(path.name for path in there.folder.iterdir()) == before
            lock.release(NOW)
            return done

    monkeypatch.setattr(doctor_live, "start_process", None)
    done = asyncio.run(run())
    found = {one["check"]: one for one in json.loads(done.stdout)}
    assert done.exit_code == 1 and {one["check"] for one in found.values() if one["status"] == "fail"} == {"key"}
    assert "can withdraw" in found["key"]["found"] and found["balance"]["found"].startswith("100,000 USDT")


@pytest.mark.usefixtures("bare")
def test_doctor_without_a_key_says_where_it_looked(tmp_path: Path) -> None:
    """Every place by its name; the checks of this machine are made all the same."""
    configured(tmp_path)
    done = doctor(str(tmp_path / "tidegate.toml"), "--live", "--json")
    found = {one["check"]: one for one in json.loads(done.stdout)}
    assert done.exit_code == 1 and found["key"]["status"] == "fail" and found["latch"]["status"] == "ok"
    places = ("tidegate-test", str(tmp_path / "config"), "tidegate/test", "TIDEGATE_TEST_KEY", "TIDEGATE_TEST_SECRET")
    for place in places:
        assert place in found["key"]["remedy"]


@pytest.mark.usefixtures("bare")
def test_doctor_and_a_venue_that_isnt_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 4, with the findings."""
    configured(tmp_path)
    monkeypatch.setenv("TIDEGATE_TEST_KEY", API_KEY)
    monkeypatch.setenv("TIDEGATE_TEST_SECRET", SECRET)
    done = doctor(str(tmp_path / "tidegate.toml"), "--live", "--json", "--set=exchange.urls.rest=http://127.0.0.1:9")
    found = {one["check"]: one for one in json.loads(done.stdout)}
    assert done.exit_code == 4, done.output
    assert found["venue"]["status"] == "fail" and "doesn't answer" in found["venue"]["found"]
    assert found["latch"]["status"] == "ok"


@pytest.mark.usefixtures("bare")
def test_doctor_reads_a_configuration(tmp_path: Path) -> None:
    """Without --live its faults are named and the venue isn't asked; the sample is nothing for real money."""
    configured(tmp_path)
    done = doctor(str(tmp_path / "tidegate.toml"), "--json")
    assert done.exit_code == 0 and [one["check"] for one in json.loads(done.stdout)] == ["configuration"]
    assert doctor(str(tmp_path / "tidegate.toml"), "--set=run.bar=7m").exit_code == 2
    assert doctor(str(tmp_path / "tidegate.toml"), "--live", "--set=run.source=synthetic").exit_code == 2


def test_the_doctors_process_may_do_nothing(tmp_path: Path) -> None:
    """Its caps let nothing leave, it sets no leverage, and its folder has no latch."""
    config = configured(tmp_path)
    document = doctor_live.harmless_document(config, spec_of(config), tmp_path)
    assert set(document["caps"].values()) == {"0.01", 1}
    assert "leverage" not in document and document["folder"] == str(tmp_path.resolve())
