"""Deletions on X honoured: stored posts are asked after again within a day, and what is gone is handed over as gone.

X tells of deletions by itself in its compliance stream, which only Enterprise plans have. Without it stored posts have
to be asked after. A round does that by a batch compliance job (`data.x_jobs`), which costs nothing by X's list. Where X
refuses the job or it fails, the round looks the posts up again in hundreds: a look-up is billed as a post is, without
its author, and a post that is gone isn't billed. So the newest are looked up first (most deletions come soon) until the
day's money for it is spent; how many that left is counted in `unchecked`. By look-up, what is gone has to be gone in
two answers. Look-ups also find newer texts of posts that were edited; a job doesn't, there the stream brings them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from data.feed import FeedError, Item, Take
from data.times import DAY_NS, HOUR_NS, SECOND_NS, format_date
from data.x_api import LOOKED_UP, XApi
from data.x_desk import Desk
from data.x_jobs import finish_job, start_job
from data.x_posts import gone_items, is_number, read_look_up

NAP_S: Final = 300.0


@dataclass
class Recheck:
    """Rounds of look-ups.

    Parameters
    ----------
    desk : Desk
    cost : Decimal
        USD for a post without its author.
    every_h : float
        A round begins so many hours after the one before.
    days : int
        Posts that were stored within so many days.
    usd : Decimal
        What look-ups may cost in a UTC day; the purse's caps hold beside it.
    jobs : bool
        Try a batch compliance job first.
    """

    desk: Desk
    cost: Decimal
    every_h: float
    days: int
    usd: Decimal
    jobs: bool = True

    async def run(self, api: XApi, take: Take) -> None:
        """Rounds until cancelled; without a store there is nothing to look up."""
        desk = self.desk
        if not self.possible:
            return
        while True:
            now_ns = desk.tools.clock.now_ns()
            began_ns, below_ns = self._place()
            if below_ns:
                await self._round(api, take, began_ns, below_ns)
            elif now_ns >= self._due_ns():
                if not await self._by_job(api, take):
                    await self._round(api, take, now_ns, 0)
            else:
                await desk.tools.sleep(min((self._due_ns() - now_ns) / SECOND_NS, NAP_S))

    async def without_money(self, api: XApi, take: Take) -> None:
        """A round by job if one is due: while a cap stops the feed, what is deleted has to go all the same."""
        if self.possible and self.desk.tools.clock.now_ns() >= self._due_ns():
            await self._by_job(api, take)

    @property
    def possible(self) -> bool:
        """Whether there are stored posts to ask after."""
        return self.desk.tools.store is not None and self.days > 0

    def _due_ns(self) -> int:
        return self._place()[0] + int(self.every_h * HOUR_NS)

    async def _by_job(self, api: XApi, take: Take) -> bool:
        """A round by a batch compliance job; whether it came to its end. A job that was begun is waited for again."""
        desk = self.desk
        if not self.jobs:
            return False
        try:
            identity, began_ns = self._job()
            if not identity:
                began_ns = desk.tools.clock.now_ns()
                keys = [key for key, _ in self._keys(began_ns)]
                if keys:
                    identity = await start_job(api, keys)
                    await desk.hand_over([], began_ns, take, {"job": [identity, began_ns]})
            gone, arrived_ns = frozenset[str](), began_ns
            if identity:
                gone, arrived_ns = await finish_job(api, identity, desk.tools)
        except FeedError:
            desk.counts["jobs_failed"] += 1
            await desk.hand_over([], desk.tools.clock.now_ns(), take, {"job": []})
            return False
        items = gone_items(gone & {key for key, _ in self._keys(desk.tools.clock.now_ns())})
        await desk.hand_over(items, arrived_ns, take, {"job": [], "round": [began_ns, 0]})
        desk.counts["gone"] += len(items)
        desk.counts["rounds"] += 1
        return True

    def _job(self) -> tuple[str, int]:
        """A job that was begun and not finished, and when; empty for none. X keeps results for a week."""
        found = self.desk.cursor.get("job")
        if isinstance(found, list) and len(found) == 2 and is_number(found[0]) and isinstance(found[1], int):
            if self.desk.tools.clock.now_ns() - found[1] < DAY_NS:
                return found[0], found[1]
        return "", 0

    async def _round(self, api: XApi, take: Take, began_ns: int, below_ns: int) -> None:
        """Look up what was stored before `below_ns` (0: all of it) in hundreds."""
        desk = self.desk
        keys = self._keys(below_ns or desk.tools.clock.now_ns())
        for at in range(0, len(keys), LOOKED_UP):
            part = keys[at : at + LOOKED_UP]
            if self._affords() < len(part):
                desk.counts["unchecked"] += len(keys) - at
                break
            items, arrived_ns = await self._ask(api, [key for key, _ in part])
            await desk.hand_over(items, arrived_ns, take, {"round": [began_ns, part[-1][1] + 1]})
        await desk.hand_over([], desk.tools.clock.now_ns(), take, {"round": [began_ns, 0]})
        desk.counts["rounds"] += 1

    async def _ask(self, api: XApi, keys: Sequence[str]) -> tuple[list[Item], int]:
        """Deletions among posts, and newer texts of those that were edited."""
        desk = self.desk
        first, arrived_ns = await self._look_up(api, keys, full=False)
        gone: frozenset[str] = frozenset()
        if first.gone:
            again, arrived_ns = await self._look_up(api, sorted(first.gone, key=int), full=False)
            gone = first.gone & again.gone
        items = gone_items(gone)
        desk.counts["gone"] += len(items)
        newest = sorted(set(first.newer.values()), key=int)
        if newest:
            edited, arrived_ns = await self._look_up(api, newest, full=True)
            items += edited.items.values()
            desk.counts["edited"] += len(edited.items)
        return items, arrived_ns

    async def _look_up(self, api: XApi, keys: Sequence[str], *, full: bool) -> Any:
        desk = self.desk
        cost = desk.cost if full else self.cost
        with desk.paying(len(keys), cost) as bill:
            answer = await api.look_up(keys, full=full)
            values = answer.values()
            found = read_look_up(values, list(keys), answer.shown)
            bill.used = min(len(values.get("data", [])), len(keys))
        desk.tools.alive()
        desk.counts["looked_up"] += len(keys)
        self._note(bill.used * cost)
        return found, answer.arrived_ns

    def _affords(self) -> int:
        """Posts that may still be looked up today."""
        now_ns = self.desk.tools.clock.now_ns()
        if not self.cost:
            return LOOKED_UP
        left = self.usd - self._spent(now_ns)
        return min(int(left // self.cost), self.desk.purse.room(now_ns, self.cost) - LOOKED_UP)

    def _spent(self, now_ns: int) -> Decimal:
        found = self.desk.cursor.get("looked")
        try:
            day, amount = found or ("", "0")
            spent = Decimal(amount)
        except (TypeError, ValueError, InvalidOperation):
            return self.usd
        return spent if day == format_date(now_ns) else Decimal(0)

    def _note(self, amount: Decimal) -> None:
        now_ns = self.desk.tools.clock.now_ns()
        looked = [format_date(now_ns), f"{self._spent(now_ns) + amount:f}"]
        self.desk.cursor = {**self.desk.cursor, "looked": looked}

    def _place(self) -> tuple[int, int]:
        """When the round began, and the stored time down to which it has come; 0 when it is through."""
        found = self.desk.cursor.get("round")
        if isinstance(found, list) and len(found) == 2 and all(isinstance(entry, int) for entry in found):
            return found[0], found[1]
        return 0, 0

    def _keys(self, below_ns: int) -> list[tuple[str, int]]:
        """Stored posts whose text is still there, with the time they were known, the newest first."""
        store = self.desk.tools.store
        assert store is not None
        since_ns = self.desk.tools.clock.now_ns() - self.days * DAY_NS
        table = store.table("posts", {"source": ["x"]}, since_ns, below_ns, ["key", "known_ns", "text"])
        newest: dict[str, int] = {}
        for row in table.to_pylist():
            if row["text"] and is_number(row["key"]):
                newest[row["key"]] = row["known_ns"]
        return sorted(newest.items(), key=lambda pair: -pair[1])
