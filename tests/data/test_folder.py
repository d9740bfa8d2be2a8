"""A watched folder: files that grow, are renamed, cut off and written anew; lines that are half there, or no lines."""

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.feed import FeedError, Gone, Item, Reading, Spoilt, Written
from data.intake_feed import to_facts
from data.sources import folder as watched
from data.sources.folder import CARD, FolderOptions
from data.times import SECOND_NS
from tests.sources.world import NOW_NS, StepClock, Taken, opened, streaming

POSTS: dict[str, Any] = {
    "name": "files", "kind": "posts", "key": "id", "time": "at", "unit": "s", "text": "say", "deleted": "gone",
    "every": 0.05,
}  # fmt: skip


def line(at: int, say: str = "btc") -> str:
    """A post on a line of its own."""
    return json.dumps({"id": at, "at": NOW_NS // SECOND_NS - 1000 + at, "say": f"{say} {at}"}) + "\n"


def add(path: Path, text: str | bytes) -> None:
    """Append, as another program does."""
    with open(path, "ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def feed(folder: Path, *, memory: Any = None, clock: StepClock | None = None, **more: Any) -> Any:
    """The source, pointed at a folder."""
    told = {**POSTS, "folder": str(folder), **more}
    return opened("folder", told, clock=clock or StepClock(), memory=memory)


def told(items: list[Item]) -> list[str]:
    """Texts of the posts among some items."""
    return [item.text for item in items if isinstance(item, Written)]


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Do the work."""
    return asyncio.run(work())


async def looks(source: Any, count: int = 2) -> None:
    """Wait until the folder was looked at so often again."""
    wanted = source.looked + count
    async with asyncio.timeout(5):
        while source.looked < wanted:
            await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count looks, so that a test can wait for one."""
    look = watched.Folder._look

    def counting(self: Any) -> Any:
        self.looked = getattr(self, "looked", 0) + 1
        return look(self)

    monkeypatch.setattr(watched.Folder, "looked", 0, raising=False)
    monkeypatch.setattr(watched.Folder, "_look", counting)


def test_grown_files_are_followed_and_lines_wait_for_their_end(tmp_path: Path) -> None:
    """Order within a file; a half-written line is read once, when it is whole; other names, packed files are left."""

    async def work() -> None:
        clock, taken = StepClock(), Taken()
        add(tmp_path / "a.jsonl", line(1) + "\n" + line(2)[:20])
        add(tmp_path / "b.txt", line(7))
        add(tmp_path / "c.jsonl.gz", line(8))
        (tmp_path / "d.jsonl").symlink_to(tmp_path / "b.txt")
        (tmp_path / "e.jsonl").mkdir()
        async with feed(tmp_path, clock=clock, pattern="*.jsonl*") as source, streaming(source, taken):
            await taken.wait(1)
            await looks(source)
            assert told(taken.items) == ["btc 1"]
            add(tmp_path / "a.jsonl", line(2)[20:] + line(3))
            add(tmp_path / "f.jsonl", '{"id": 1, "gone": true}\n')
            await taken.wait(4)
            assert told(taken.items) == ["btc 1", "btc 2", "btc 3"] and Gone("1") in taken.items
        facts = to_facts(CARD, taken.batches, ingested_ns=clock.now_ns())
        for row in facts.facts["posts"].to_pylist():
            assert row["source"] == "files" and NOW_NS < row["known_ns"] <= clock.ns

    run(work)


def test_it_goes_on_from_its_cursor(tmp_path: Path) -> None:
    """After a restart only what is new is read, also of a file that was renamed meanwhile; nothing is lost."""

    async def work() -> None:
        taken, again = Taken(), Taken()
        add(tmp_path / "a.jsonl", line(1) + line(2))
        async with feed(tmp_path) as source, streaming(source, taken):
            await taken.wait(2)
        memory = json.loads(json.dumps(dict(taken.batches[-1].cursor or {})))
        add(tmp_path / "a.jsonl", line(3))
        (tmp_path / "a.jsonl").rename(tmp_path / "a.1")
        add(tmp_path / "a.jsonl", line(4))
        async with feed(tmp_path, memory=memory) as source, streaming(source, again):
            await again.wait(2)
            await looks(source)
        assert told(again.items) == ["btc 3", "btc 4"]

    run(work)


def test_files_that_are_cut_off_or_written_anew_are_read_from_their_start(tmp_path: Path) -> None:
    """Shorter than before, as long, or longer: what stands before the mark tells."""

    async def work() -> None:
        taken, path = Taken(), tmp_path / "a.jsonl"
        add(path, line(1) + line(2))
        async with feed(tmp_path) as source, streaming(source, taken):
            await taken.wait(2)
            path.write_text(line(3))
            await taken.wait(3)
            path.write_text(line(4))
            await taken.wait(4)
            path.write_text(line(5) + line(6) + line(7))
            await taken.wait(7)
            os.truncate(path, 0)
            await looks(source)
            add(path, line(8))
            await taken.wait(8)
            path.unlink()
            await looks(source)
            add(path, line(9))
            await taken.wait(9)
            assert source.health()["anew"] >= 3
        assert told(taken.items) == [f"btc {at}" for at in range(1, 10)]

    run(work)


@pytest.mark.parametrize("size", [300, 1_500_000])
def test_lines_that_are_too_long_are_set_apart(tmp_path: Path, size: int) -> None:
    """Once each, without being read into memory as a whole; what follows is read, also after a restart within one."""

    async def work() -> None:
        taken, again, path = Taken(), Taken(), tmp_path / "a.jsonl"
        add(path, line(1) + "x" * size + "\n" + line(2) + "y" * size)
        async with feed(tmp_path, line_bytes=200) as source, streaming(source, taken):
            async with asyncio.timeout(5):
                while len(taken.items) < 4:
                    await asyncio.sleep(0.005)
            await looks(source)
            memory = dict(taken.batches[-1].cursor or {})
        assert told(taken.items) == ["btc 1", "btc 2"]
        add(path, "y\n" + line(3))
        async with feed(tmp_path, line_bytes=200, memory=memory) as source, streaming(source, again):
            await again.wait(1)
            await looks(source)
        assert told(again.items) == ["btc 3"]
        bad = [item for item in [*taken.items, *again.items] if isinstance(item, Spoilt)]
        assert [item.reason for item in bad] == ["a line of more than 200 bytes"] * 2

    run(work)


def test_lines_that_are_not_facts_are_set_apart(tmp_path: Path) -> None:
    """Cut off, a page, nested without end, no number, no UTF-8, other fields: each with a reason, and nothing stops."""
    bad: list[bytes] = [
        b'{"id": 1, "at"', b"<!DOCTYPE html>", b"[" * 100_000, b'{"id": 1, "at": NaN}', b"\xff\xfe", b'"yes"',
        b'{"uid": 1}', b'{"id": 1, "at": "soon", "say": "x"}', b"\x00",
    ]  # fmt: skip

    async def work() -> None:
        taken = Taken()
        add(tmp_path / "a.jsonl", b"\n".join([*bad, b"", line(1).encode()]))
        async with feed(tmp_path) as source, streaming(source, taken):
            await taken.wait(len(bad) + 1)
        assert [type(item) for item in taken.items] == [Spoilt] * len(bad) + [Written]
        assert all(item.reason for item in taken.items if isinstance(item, Spoilt))

    run(work)


def test_what_was_not_acknowledged_is_read_again(tmp_path: Path) -> None:
    """The mark only moves with what is durable."""

    async def work() -> None:
        taken, full = Taken(), [True]

        async def take(batch: Any) -> None:
            if full[0]:
                raise FeedError("the disk is full")
            await taken(batch)

        add(tmp_path / "a.jsonl", line(1))
        async with feed(tmp_path) as source:
            with pytest.raises(FeedError, match="disk"):
                await source.stream(take)
            full[0] = False
            async with streaming(source, take):
                assert told(await taken.wait(1)) == ["btc 1"]

    run(work)


def test_folders_that_cannot_be_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, or with too many files: an error that waiting may mend; when it is there, it is read."""

    async def work() -> None:
        taken, there = Taken(), tmp_path / "later"
        async with feed(there) as source:
            with pytest.raises(FeedError, match="later") as caught:
                await source.stream(taken)
            assert not caught.value.final
            there.mkdir()
            add(there / "a.jsonl", line(1))
            async with streaming(source, taken):
                await taken.wait(1)
            monkeypatch.setattr(watched, "FILES_MAX", 1)
            add(there / "b.jsonl", line(1))
            with pytest.raises(FeedError, match="more than 1 files"):
                await source.stream(taken)

    run(work)


def test_many_lines_come_in_pieces_and_series_as_well(tmp_path: Path) -> None:
    """More than is read at a time, in order; values of series instead of posts."""
    metrics = {"kind": "metrics", "key": "", "text": (), "deleted": "", "metric": "=tvl", "coin": "c", "value": "v"}

    async def work() -> None:
        taken = Taken()
        at = NOW_NS // SECOND_NS - 50_000
        rows = "".join(f'{{"at": {at + n}, "c": "btc", "v": {n}, "pad": "{"x" * 60}"}}\n' for n in range(20_000))
        add(tmp_path / "a.jsonl", rows)
        async with feed(tmp_path, **metrics) as source, streaming(source, taken):
            await taken.wait(20_000, timeout_s=20)
        values = [item.value for item in taken.items if isinstance(item, Reading)]
        assert values == [float(n) for n in range(20_000)] and len(taken.batches) > 1

    run(work)


def test_options_are_checked(tmp_path: Path) -> None:
    """Patterns are names, files cost nothing, and there is no history."""
    with pytest.raises(InputError) as caught:
        FolderOptions(**POSTS, folder=str(tmp_path), pattern="../*.jsonl")
    assert caught.value.key == "pattern"

    async def work() -> None:
        with pytest.raises(InputError, match="cost"):
            async with feed(tmp_path, cost="0.01"):
                pass
        async with feed(tmp_path) as source:
            with pytest.raises(InputError, match="record"):
                await source.fetch((0, 1), Taken(), lambda part, whole: None)

    run(work)
