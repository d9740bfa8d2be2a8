"""`tidegate record` as people start it: real processes, a real server, Ctrl-C and SIGKILL."""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from bot.cli import app
from bot.record.memory import read_heard
from data.store import Store
from tests.bot.record_world import markers
from tests.sources import fear_greed
from tests.sources.server import serving

HOUSE = Path(__file__).resolve().parents[2]
WITH_FIREHOSE = """
import sys, data.sources
data.sources.__path__.append(sys.argv[1])
from bot.cli import main
main(sys.argv[2:])
"""


@asynccontextmanager
async def running(*arguments: str, sources: Path | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command as a process; `sources` is a folder with more of them."""
    command = ["-m", "bot"] if sources is None else ["-c", WITH_FIREHOSE, str(sources)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=HOUSE,
        env={**os.environ, "PYTHONPATH": str(HOUSE)},
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def until(true: Any, timeout_s: float = 30.0) -> None:
    """Look until it holds."""
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.02)


def write_config(folder: Path, tables: str) -> Path:
    """A configuration with these feeds."""
    file = folder / "record.toml"
    file.write_text(f'[run]\nsymbols = ["BTC/USDT"]\n[record]\nscore = false\nflush = "50ms"\n{tables}')
    return file


def values(var: Path) -> list[tuple[int, float]]:
    """What is stored of the index."""
    rows = Store(var).table("metrics", {"name": ["fear_greed"]}).to_pylist()
    return [(row["event_ns"], row["value"]) for row in rows]


def test_ctrl_c_ends_it_in_order_and_the_next_start_goes_on(tmp_path: Path) -> None:
    """While it runs: status tells of it, a second one is refused. Then nothing is stored twice."""
    var = tmp_path / "var"

    async def first() -> None:
        world = fear_greed.make()
        async with serving(world.handler) as server:
            options = f'[feeds.fear_greed]\nurl = "{server.url}/fng/"\nevery = 10\n'
            config = write_config(tmp_path, options)
            async with running("record", str(config), "--var", str(var), "--json") as process:
                await until(lambda: len(values(var)) == 2)
                assert process.stdout is not None
                line = json.loads(await process.stdout.readline())
                assert line["feeds"]["fear_greed"]["source"] == "fear_greed" and line["pid"] == process.pid
                status = await asyncio.to_thread(CliRunner().invoke, app, ["status", "--var", str(var), "--json"])
                told = json.loads(status.stdout)["recorder"]
                assert status.exit_code == 0 and told["running"] and told["feeds"]["fear_greed"]["state"] == "up"
                shown = await asyncio.to_thread(CliRunner().invoke, app, ["status", "--var", str(var)])
                assert f"process {process.pid}" in shown.stdout and "fear_greed" in shown.stdout
                again = await asyncio.to_thread(CliRunner().invoke, app, ["record", str(config), "--var", str(var)])
                assert again.exit_code == 3 and f"process {process.pid}" in again.stderr
                process.send_signal(signal.SIGINT)
                out, err = await asyncio.wait_for(process.communicate(), 20)
                assert process.returncode == 0, err
                last = json.loads(out.splitlines()[-1])
                assert last["feeds"]["fear_greed"]["facts"] == 2 and last["ending"]
            assert [value for value, _, _ in markers(var, "fear_greed")] == [1.0, 0.0]
            assert not read_heard(var / "feeds")["fear_greed"].up
            stored = values(var)
            world.publish()
            async with running("record", str(config), "--var", str(var)) as process:
                await until(lambda: len(values(var)) == 3)
                process.send_signal(signal.SIGTERM)
                out, err = await asyncio.wait_for(process.communicate(), 20)
                assert process.returncode == 0 and b"ended, all of it stored" in err and b"1 feeds" in out
            assert values(var)[:2] == stored
            assert [value for value, _, _ in markers(var, "fear_greed")] == [1.0, 0.0, 1.0, 0.0]

    asyncio.run(first())
    status = CliRunner().invoke(app, ["status", "--var", str(var)])
    assert status.exit_code == 0 and "not running; last heard: fear_greed 2" in status.stdout


def test_it_ends_by_itself_after_a_time(tmp_path: Path) -> None:
    """`--for`; a source that can't be reached meanwhile is no fault of the command's."""
    config = write_config(tmp_path, '[feeds.fear_greed]\nurl = "http://127.0.0.1:9/"\n')
    done = CliRunner().invoke(app, ["record", str(config), "--var", str(tmp_path / "var"), "--for", "300ms"])
    assert done.exit_code == 0 and "fear_greed" in done.stdout and "0 facts" in done.stdout
    wrong = CliRunner().invoke(app, ["record", str(config), "--var", str(tmp_path / "var"), "--for", "0"])
    assert wrong.exit_code == 2


def test_a_killed_recorder_loses_nothing_it_acknowledged_and_stores_nothing_twice(tmp_path: Path) -> None:
    """Posts as fast as they come, SIGKILL at a random moment, then Ctrl-C; the source wrote down what it was told."""
    var, log = tmp_path / "var", tmp_path / "acknowledged"
    table = f'[feeds.firehose]\nrate = 3000\nbatch = 50\nat_once = 8\nlog = "{log}"\n'
    config = write_config(tmp_path, table)
    chance = random.Random(8)

    async def main() -> None:
        for number, how in enumerate((signal.SIGKILL, signal.SIGINT), 1):
            begun = log.stat().st_size if log.exists() else 0
            arguments = ("record", str(config), "--var", str(var))
            async with running(*arguments, sources=HOUSE / "benchmarks" / "record_feed") as process:
                await until(lambda begun=begun: log.exists() and log.stat().st_size > begun + 200)
                await asyncio.sleep(chance.uniform(0.0, 0.6))
                process.send_signal(how)
                out, err = await asyncio.wait_for(process.communicate(), 20)
                assert process.returncode == (-9 if how == signal.SIGKILL else 0), err
            told = {key for line in log.read_text().splitlines() for key in range(*map(int, line.split()))}
            found = Store(var).table("posts", columns=["key", "revision"]).to_pylist()
            stored = [int(row["key"][1:]) for row in found]
            assert told <= set(stored) and len(stored) == len(set(stored)), number
            assert not any(row["revision"] for row in found)
            cursor = json.loads((var / "feeds" / "firehose.json").read_text())["cursor"]["next"]
            assert max(told) < cursor <= max(stored) + 1
            assert sorted(stored) == list(range(max(stored) + 1))

    asyncio.run(main())
    assert [value for value, _, _ in markers(var, "firehose")] == [1.0, 0.0, 1.0, 0.0]
