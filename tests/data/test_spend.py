"""The purse never counts too little: whatever is spent, by whom, in which order, and whatever kills the spender."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.feed import FeedError
from data.spend import BOOKS, OPENED, PaidOptions, Spending, purse_of
from data.times import DAY_NS, HOUR_NS, SECOND_NS, format_date, parse_time

NOON = parse_time("2025-10-09T12:00Z")
CENT = Decimal("0.01")
HOUSE = Path(__file__).resolve().parents[2]


def purse(folder: Path, *, day: str = "1", month: str = "3", cost: Decimal = CENT, ahead: int = 10) -> Spending:
    """A purse with a cap of 100 items a day and 300 a month."""
    return Spending(folder / "x", cost=cost, cap_day=Decimal(day), cap_month=Decimal(month), lease_items=ahead)


def spend_all(spender: Spending, now_ns: int) -> int:
    """Items that it gets before the cap."""
    count = 0
    while True:
        try:
            spender.spend(1, now_ns)
        except FeedError as error:
            assert error.final and error.pause_s > 0
            return count
        count += 1


def test_stops_at_the_cap_of_the_day_and_goes_on_the_next(tmp_path: Path) -> None:
    spender = purse(tmp_path)
    assert spend_all(spender, NOON) == 100
    shown = purse(tmp_path).spent(NOON)
    assert (shown.today, shown.this_month, shown.remaining) == (Decimal(1), Decimal(1), Decimal(0))
    assert shown.stopped_ns == NOON and "cap of 1 USD a day" in shown.why and "2025-10-09" in shown.why
    assert spend_all(purse(tmp_path), NOON + HOUR_NS) == 0, "a restart opens no new budget"
    assert purse(tmp_path).spent(NOON + HOUR_NS).stopped_ns == NOON
    assert spend_all(spender, NOON + 12 * HOUR_NS) == 100
    assert purse(tmp_path).spent(NOON + 12 * HOUR_NS).day == "2025-10-10"


def test_stops_at_the_cap_of_the_month(tmp_path: Path) -> None:
    spender = purse(tmp_path)
    assert [spend_all(spender, NOON + day * DAY_NS) for day in range(4)] == [100, 100, 100, 0]
    with pytest.raises(FeedError, match=r"month.*before 2025-11-01 00:00Z.*cap_month") as caught:
        spender.spend(1, NOON + 4 * DAY_NS)
    assert caught.value.pause_s == (parse_time("2025-11-01") - NOON - 4 * DAY_NS) / SECOND_NS
    assert spend_all(spender, parse_time("2025-11-01")) == 100


def test_a_cap_that_is_raised_opens_again(tmp_path: Path) -> None:
    assert spend_all(purse(tmp_path), NOON) == 100
    assert spend_all(purse(tmp_path, day="1.5"), NOON) == 50
    larger = purse(tmp_path, day="2")
    larger.spend(1, NOON)
    assert larger.spent(NOON).stopped_ns == 0


def test_a_clock_that_goes_back_opens_no_new_budget(tmp_path: Path) -> None:
    spender = purse(tmp_path)
    assert spend_all(spender, NOON) == 100
    assert spend_all(spender, NOON - 3 * DAY_NS) == 0
    with pytest.raises(FeedError, match="clock is behind the books"):
        purse(tmp_path).spend(1, NOON - 40 * DAY_NS)
    assert purse(tmp_path).spent(NOON - 40 * DAY_NS).today == 1
    assert spend_all(spender, NOON) == 0


def test_what_is_given_back_may_be_spent_again_but_not_on_another_day(tmp_path: Path) -> None:
    spender = purse(tmp_path)
    spender.spend(60, NOON)
    spender.give_back(60, NOON)
    assert spender.room(NOON) == 100
    spender.spend(100, NOON)
    spender.give_back(100, NOON - DAY_NS)
    assert spender.room(NOON) == 0
    spender.spend(10, NOON + DAY_NS)
    spender.give_back(10, NOON)
    assert spender.room(NOON + DAY_NS) == 90
    spender.close()
    assert spender.spent(NOON + DAY_NS).today == Decimal("0.10")
    assert spender.spent(NOON + DAY_NS).this_month == Decimal("1.10")


def test_other_prices_come_out_of_the_same_purse(tmp_path: Path) -> None:
    spender = purse(tmp_path, cost=Decimal("0.015"))
    assert spender.room(NOON) == 66
    spender.spend(3, NOON, Decimal("0.005"))
    spender.spend(2, NOON)
    spender.close()
    assert spender.spent(NOON).today == Decimal("0.045")
    free = purse(tmp_path, cost=Decimal(0))
    free.spend(10**6, NOON)
    assert free.room(NOON) >= 10**6 and free.spent(NOON).today == Decimal("0.045")


@pytest.mark.parametrize("wound", ["empty", "cut", "changed", "list", "gone", "version", "not-finite"])
def test_damaged_books_fail_closed_and_are_named(tmp_path: Path, wound: str) -> None:
    purse(tmp_path).spend(1, NOON)
    books = tmp_path / "x" / BOOKS
    text = books.read_text()
    changed = {
        "empty": "",
        "cut": text[:-9],
        "changed": text.replace('day_usd\\": \\"0.1', 'day_usd\\": \\"0.0'),
        "list": "[]",
        "version": text.replace('format\\": 1', 'format\\": 2'),
        "not-finite": "[" * 100_000,
    }
    if wound == "gone":
        books.unlink()
    else:
        assert changed[wound] != text
        books.write_text(changed[wound])
    with pytest.raises(FeedError, match="books") as caught:
        purse(tmp_path).spend(1, NOON)
    assert caught.value.final and str(books) in str(caught.value)
    with pytest.raises(FeedError):
        purse(tmp_path).room(NOON)
    with pytest.raises(InputError, match="books"):
        purse(tmp_path).spent(NOON)


def test_a_folder_that_cannot_be_written_fails_closed(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a file where the folder should be")
    with pytest.raises(FeedError, match="purse"):
        purse(tmp_path).spend(1, NOON)


def test_leftovers_of_a_killed_write_do_no_harm(tmp_path: Path) -> None:
    purse(tmp_path).spend(1, NOON)
    (tmp_path / "x" / f"{BOOKS}.tmp").write_text("half of")
    (tmp_path / "x" / OPENED).unlink()
    spender = purse(tmp_path)
    spender.spend(1, NOON)
    assert spender.spent(NOON).today == Decimal("0.20")


def test_only_paid_sources_have_a_purse(tmp_path: Path) -> None:
    options = PaidOptions.model_validate({"cost": 0.01, "cap_day": 2, "cap_month": 9})
    found = purse_of(options, "x", tmp_path)
    assert found is not None and found.cost == CENT and found.folder == tmp_path / "feeds" / "spend" / "x"
    assert (found.spent().cap_day, found.spent().cap_month, found.spent().today) == (Decimal(2), Decimal(9), Decimal(0))
    shared = purse_of(PaidOptions.model_validate({"account": "ours"}), "x", tmp_path)
    assert shared is not None and shared.folder.name == "ours"
    from data.sources import find_source

    free = find_source("fear_greed").options
    assert purse_of(free(), "fear_greed", tmp_path) is None


STEPS = st.one_of(
    st.tuples(st.just("spend"), st.integers(0, 1), st.integers(1, 30)),
    st.tuples(st.just("back"), st.integers(0, 1), st.integers(1, 30)),
    st.tuples(st.just("kill"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("close"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("clock"), st.just(0), st.integers(-30, 30)),
)


@settings(max_examples=60)
@given(st.lists(STEPS, max_size=40))
def test_books_say_never_too_little_and_never_more_than_a_lease_a_kill_too_much(
    steps: list[tuple[str, int, int]],
) -> None:
    """Two spenders of one account, killed, closed and restarted at will, on a clock that goes both ways."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        spenders = [purse(folder), purse(folder)]
        used: Counter[str] = Counter()
        last: list[list[tuple[int, int]]] = [[], []]  # what each may still give back: items, when they were booked
        now, newest, kills = NOON, NOON, 0
        for step, who, count in steps:
            if step == "clock":
                now += count * HOUR_NS
                newest = max(newest, now)
            elif step == "kill":
                spenders[who], last[who], kills = purse(folder), [], kills + 1
            elif step == "close":
                spenders[who].close()
            elif step == "spend":
                newest = max(newest, now)
                try:
                    spenders[who].spend(count, now)
                except FeedError as error:
                    assert error.final
                    continue
                used[spenders[who].spent().day] += count
                last[who].append((count, now))
            elif last[who]:
                items, booked_ns = last[who].pop()
                before = spenders[who].spent().day
                spenders[who].give_back(items, booked_ns)
                if format_date(booked_ns) == before and spenders[who]._day == before:
                    used[before] -= items
            shown = purse(folder).spent()
            if shown.day:
                assert used[shown.day] * CENT <= shown.today <= shown.cap_day
                month = sum(items for day, items in used.items() if day[:7] == shown.month)
                assert month * CENT <= shown.this_month <= shown.cap_month
        for spender in spenders:
            spender.close()
        shown = purse(folder).spent()
        if shown.day:
            assert shown.today <= used[shown.day] * CENT + kills * 20 * CENT


SPENDER = """
import sys
from decimal import Decimal
from pathlib import Path
from data.feed import FeedError
from data.spend import Spending
purse = Spending(
    Path(sys.argv[1]), cost=Decimal("0.01"), cap_day=Decimal(sys.argv[2]), cap_month=Decimal(1000), lease_items=10
)
out = sys.stdout
try:
    while True:
        purse.spend(1, int(sys.argv[3]))
        out.write("1\\n")
        out.flush()
except FeedError as error:
    assert error.final and "cap of" in str(error), error
    purse.close()
"""


def start(folder: Path, cap: str) -> subprocess.Popen[bytes]:
    """A real process that spends item by item and writes a line for each."""
    return subprocess.Popen(
        [sys.executable, "-c", SPENDER, str(folder), cap, str(NOON)], cwd=HOUSE, stdout=subprocess.PIPE
    )


def test_killed_at_any_point_it_never_says_too_little(tmp_path: Path) -> None:
    """Item by item a process spends, writes it down, and is killed; the books know all of it."""
    rng, told, kills = random.Random(3), 0, 4
    for _ in range(kills):
        process = start(tmp_path / "x", "500")
        assert process.stdout is not None
        for _ in range(rng.randrange(1, 150)):
            assert process.stdout.readline() == b"1\n"
            told += 1
        os.kill(process.pid, signal.SIGKILL)
        told += len(process.stdout.read().split())
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        booked = purse(tmp_path).spent(NOON).today / CENT
        assert told <= booked <= told + kills * 11
    with pytest.raises(FeedError, match="cap of"):
        purse(tmp_path, day=str(booked * CENT)).spend(1, NOON)


def test_several_processes_share_one_cap(tmp_path: Path) -> None:
    processes = [start(tmp_path / "x", "6") for _ in range(3)]
    counts = [len(process.communicate()[0].split()) for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert sum(counts) == 600
    assert purse(tmp_path, day="6").spent(NOON).today == 6
