"""A whole bot in a world of its own: exchange, market, disk, clock, people and deaths from one seed."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from decimal import Decimal

from backtest.spec import RunSpec
from bot.events import Bar, Observation, Posts
from bot.exchange.line import VenueSettings
from bot.journal.chain import JournalError
from bot.journal.memory import MemoryJournal
from tests.sim.disk import DiskFaults, Killed
from tests.sim.exchange import Faults, SimExchange
from tests.sim.life import BOT, Life
from tests.sim.loop import SimClock, VirtualLoop, simulate
from tests.sim.matching import Matching, spot_market
from tests.sim.plan import BAR_NS, CASH, PERP_SYMBOLS, SYMBOLS, spec_of
from tests.sim.tape import FeedFaults, Tape

FOREIGN = {"BTC": "2", "ETH": "0", "USDT": "500", "DOGE": "77"}
START_NS = 1_700_000_000 * 10**9
PAST = 8  # bars before the beginning
QUIET_S = 90.0  # the tail without faults, while the strategy still trades
STILL_S = 60.0  # the end of it, when prices stand and nobody decides


@dataclass
class World:
    """All there is; what the judge reads afterwards."""

    loop: VirtualLoop
    seed: int
    spec: RunSpec
    exchange: SimExchange
    clock_s: float  # how far the machine's clock is ahead of the time; a process takes it once, at its start
    tape: Tape
    journal: MemoryJournal
    rng: random.Random
    warm: list[Bar | Posts | Observation]
    outside: bool = True
    kind: str = "spot"  # "robbed": somebody takes what is ours; "perp"
    fee_coin: str = "base"
    faults: Faults = field(default_factory=Faults)
    disk: DiskFaults = field(default_factory=DiskFaults)
    feed_faults: FeedFaults = field(default_factory=FeedFaults)
    foreign: dict[str, Decimal] = field(default_factory=lambda: {c: Decimal(t) for c, t in FOREIGN.items()})
    robbed: set[str] = field(default_factory=set)  # coins of which somebody took more than was foreign
    taken: list[tuple[float, str, Decimal]] = field(default_factory=list)  # when, what and how much
    lives: list[Life] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    flattened: bool = False
    troubles: list[str] = field(default_factory=list)

    def tell(self, text: str) -> None:
        """What happened, for whoever looks into a seed."""
        self.story.append(f"{self.loop.time():8.2f} {text}")

    @property
    def life(self) -> Life:
        """The process that runs now."""
        return self.lives[-1]

    def set_faults(self, on: bool) -> None:
        """Bad times or good ones."""
        self.exchange.faults = self.faults if on else Faults()
        self.tape.faults = self.feed_faults if on else FeedFaults()

    def set_clock(self, ahead_s: float) -> None:
        """Somebody sets the machine's clock."""
        self.clock_s = ahead_s
        self.exchange.offset_s = -ahead_s

    def born(self, *, faults: bool = True) -> Life:
        """The next process."""
        disk = self.disk if faults else DiskFaults()
        exchange = self.exchange if self.outside else None
        clock = SimClock(self.loop, START_NS)
        clock.offset_s = self.clock_s
        life = Life(
            self.spec, self.journal, exchange, clock, self.tape, random.Random(self.rng.random()), disk,
            self.warm, VenueSettings(start_s=20.0, maybe_s=10.0),
        )  # fmt: skip
        self.tell(f"life {life.session} begins")
        self.lives.append(life)
        life.begin()
        return life


def world_of(loop: VirtualLoop, seed: int, *, outside: bool = True) -> World:
    """Draw it."""
    rng = random.Random(f"world {seed}")
    balances = {coin: Decimal(text) for coin, text in FOREIGN.items()}
    balances["USDT"] += Decimal(repr(CASH))
    balances["BNB"] = Decimal(5)
    fee_coin = rng.choice(("base", "base", "quote", "BNB"))
    kind = rng.choice(("spot", "spot", "spot", "robbed", "perp"))
    perp = kind == "perp"
    symbols = PERP_SYMBOLS if perp else SYMBOLS
    matching = Matching(
        rng=random.Random(f"prices {seed}"), markets={s: spot_market(s) for s in symbols}, perp=perp,
        prices={s: Decimal("100.00") for s in symbols}, balances=balances, fee_coin=fee_coin, stops_lock=True,
        expire_share=rng.choice((0.0, 0.01)), jumps=rng.choice((0.0, 0.01)),
    )  # fmt: skip
    exchange = SimExchange(
        loop=loop, rng=random.Random(f"ways {seed}"), matching=matching, bot_id=BOT, start_ns=START_NS,
        offset_s=rng.choice((0.0, 0.0, 0.3, -0.3)),
    )  # fmt: skip
    tape = Tape(exchange, symbols, BAR_NS, random.Random(f"tape {seed}"))
    spec = spec_of(rng, fee_asset="received" if fee_coin == "base" else "quote", perp=perp)
    level = Observation(ns=0, name="flow", coin="*", event_ns=START_NS - 1, known_ns=START_NS - 1, value=0.1)
    chance = rng.choice((0.0, 0.0, 0.01, 0.03))
    return World(
        loop=loop, seed=seed, spec=spec, exchange=exchange, clock_s=0.0, tape=tape, rng=rng,
        journal=MemoryJournal({"bot": BOT}, ns=1), warm=[*tape.past(PAST, rng), level], outside=outside,
        kind=kind, fee_coin=fee_coin, faults=Faults.drawn(rng), feed_faults=FeedFaults.drawn(rng),
        disk=DiskFaults(fails=rng.choice((0.0, 0.002)), kept=0.3, dies_before=chance, dies_after=chance),
    )  # fmt: skip


async def mischief(world: World) -> None:
    """People, other traders in the account, and the clock: now and then one of them does something."""
    rng = world.rng
    acts = ["halt", "resume", "resume", "close", "close"]
    if world.outside:
        acts += {
            "spot": ["transfer", "by hand", "foreign order", "clock"],
            "robbed": ["rob", "rob", "rob", "clock"], "perp": ["funding", "funding", "clock"],
        }[world.kind]  # fmt: skip
    while True:
        await asyncio.sleep(rng.expovariate(1 / 12.0))
        act = rng.choice(acts)
        world.tell(act)
        if act in ("halt", "resume"):
            world.life.say(act, flatten=rng.random() < 0.5)
        elif act == "close":
            world.life.say(act, symbol=rng.choice(world.spec.symbols))
        elif act == "clock":
            world.set_clock(world.clock_s + rng.choice((-0.8, 0.8, 3.0, -3.0, rng.uniform(-40.0, 40.0))))
        else:
            meddle(world, act)


def meddle(world: World, act: str) -> None:
    """Somebody else uses the account; mostly what is theirs."""
    rng, matching, now_s = world.rng, world.exchange.matching, world.loop.time()
    if act == "funding":
        matching.fund(rng.choice(world.spec.symbols), Decimal(rng.choice(("0.0002", "-0.0001"))), now_s)
        return
    if act == "rob":
        coin = rng.choice(("BTC", "ETH", "ETH", "USDT"))
        amount = (matching.balances[coin] * Decimal(rng.randint(1, 10)) / 10).quantize(Decimal("0.001"))
        matching.rob(coin, amount, now_s)
        world.taken.append((now_s, coin, amount))
        world.robbed |= {coin, "USDT"}  # orders that can't be paid any more fall out of their sums
        return
    if act == "transfer":
        coin = rng.choice(("BTC", "USDT", "ETH"))
        amount = Decimal(rng.randint(1, 40)) / (10 if coin != "USDT" else 1)
        amount = amount if rng.random() < 0.5 else -min(amount, world.foreign[coin])
        matching.transfer(coin, amount)
        world.foreign[coin] += amount
        return
    symbol = rng.choice(SYMBOLS)
    coin, price = symbol.split("/")[0], matching.prices[symbol]
    qty = Decimal(rng.randint(1, 300)) / 1000
    if rng.random() < 0.5:
        qty = -min(qty, world.foreign[coin])
    elif qty * price * Decimal("1.01") > world.foreign["USDT"]:
        return
    if not qty:
        return
    if act == "foreign order":
        matching.by_hand(symbol, qty, now_s, client_id=f"web-{len(matching.orders)}")
    else:
        matching.by_hand(symbol, qty, now_s, client_id="")
    trade = matching.trades[-1]
    world.foreign[coin] += qty
    world.foreign["USDT"] -= qty * trade.price
    world.foreign[trade.fee_coin] = world.foreign.get(trade.fee_coin, Decimal(0)) - trade.fee


async def live(world: World) -> None:
    """One process, until something ends it."""
    rng = world.rng
    try:
        life = world.born()
    except (Killed, JournalError):
        world.tell("it died at birth")
        return
    over = await life.lasts(rng.choice((rng.uniform(0.0, 10.0), rng.uniform(10.0, 70.0), rng.uniform(10.0, 70.0))))
    if over:
        world.tell(f"it ended by itself: {life.ended or ('journal' if life.bot.failed else 'killed')}")
        if life.ended is not None:
            world.troubles.append(f"life {life.session}: {life.ended!r}")
        await life.kill()
    elif rng.random() < 0.7:
        world.tell("killed")
        await life.kill()
    else:
        world.tell("stopped")
        await life.stop()
    if world.outside:
        world.troubles += [f"life {life.session}: {text}" for text in life.venue.health()["faults"]]
    if rng.random() < 0.3:
        world.set_clock(world.clock_s + rng.uniform(-30.0, 30.0))
    await asyncio.sleep(rng.choice((0.0, rng.uniform(0.0, 5.0), rng.uniform(0.0, 30.0))))


async def history(loop: VirtualLoop, seed: int, *, outside: bool = True) -> World:
    """All of it."""
    world = world_of(loop, seed, outside=outside)
    running = {"venue": world.exchange.run(), "tape": world.tape.run()}
    there = [asyncio.create_task(work, name=name) for name, work in running.items()]
    first = world.born(faults=False)
    await first.lasts(3.0)
    world.set_faults(True)
    await first.lasts(world.rng.uniform(0.0, 30.0))
    await first.kill()
    people = asyncio.create_task(mischief(world), name="people")
    for _ in range(world.rng.randint(1, 3)):
        await live(world)
    people.cancel()
    world.set_faults(False)
    await tail(world)
    for task in there:
        task.cancel()
    await world.exchange.close()
    return world


async def tail(world: World) -> None:
    """Good times: somebody looks, the strategy trades on; at last prices stand and all that was begun ends."""
    world.tell("the tail begins")
    world.set_clock(0.0)
    life = world.born(faults=False)
    await life.lasts(QUIET_S / 2)
    if world.rng.random() < 0.8:
        world.tell("resume")
        life.say("resume")
    await life.lasts(QUIET_S / 2)
    world.tape.silent = True
    world.exchange.still = True
    world.tell("still")
    if await life.lasts(STILL_S):
        world.troubles.append(f"the last life ended: {life.ended!r} {life.bot.failed}")


def run(seed: int, *, outside: bool = True) -> World:
    """The world of a seed, at its end."""
    return simulate(seed, lambda loop: history(loop, seed, outside=outside))
