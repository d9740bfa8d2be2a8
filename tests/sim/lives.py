"""Lives of a bot on the simulated exchange under a seed's faults; `python -m tests.sim.lives FIRST LAST` runs many."""

import asyncio
import random
import sys
from decimal import Decimal

from tests.sim.desk import BOT, TinyBot, TinyDesk
from tests.sim.exchange import Faults, SimExchange
from tests.sim.judge import coins_of, faults_of
from tests.sim.loop import VirtualLoop, simulate
from tests.sim.matching import Matching, spot_market

SYMBOLS = ("BTC/USDT", "ETH/USDT")
DUST = Decimal("0.01")
FOREIGN = {"BTC": "2", "ETH": "0", "USDT": "500", "DOGE": "77"}


def world(loop: VirtualLoop, seed: int) -> SimExchange:
    """An exchange with somebody else's coins beside 10,000 USDT of ours; each fifth one trades perpetuals."""
    rng = random.Random(seed)
    balances = {coin: Decimal(text) for coin, text in FOREIGN.items()}
    balances["USDT"] += 10_000
    balances["BNB"] = Decimal(10)
    matching = Matching(
        rng=random.Random(seed + 1), markets={s: spot_market(s) for s in SYMBOLS}, perp=seed % 5 == 4,
        prices={s: Decimal("100.00") for s in SYMBOLS}, balances=balances,
        fee_coin=rng.choice(("base", "quote", "BNB")), expire_share=rng.choice((0.0, 0.01)),
    )  # fmt: skip
    offset = rng.choice((0.0, 0.0, 0.3, -0.3))
    return SimExchange(loop=loop, rng=rng, matching=matching, bot_id=BOT, offset_s=offset, faults=Faults.drawn(rng))


async def hands(exchange: SimExchange, rng: random.Random, moved: dict[str, Decimal]) -> None:
    """Somebody moves his own coins in the same account now and then, and leaves an order standing."""
    while True:
        await asyncio.sleep(rng.expovariate(1 / 20.0))
        amount = Decimal(rng.randint(-50, 50)) / 1000
        moved["BTC"] += amount
        exchange.matching.transfer("BTC", amount)


async def lives(loop: VirtualLoop, seed: int) -> tuple[TinyDesk, list[str]]:
    """Some lives under faults, the end in peace, in a new life or in the last one; what is wrong then."""
    exchange = world(loop, seed)
    rng = random.Random(seed + 2)
    desk = TinyDesk(SYMBOLS, cash=10_000.0, perp=exchange.matching.perp)
    faults = exchange.faults
    if rng.random() < 0.5:
        exchange.faults = Faults()
    life = TinyBot(exchange, desk, rng)
    await life.begin()
    exchange.faults = faults
    moved = {coin: Decimal(text) for coin, text in FOREIGN.items()}
    others = [asyncio.create_task(exchange.run())]
    if rng.random() < 0.5 and life.venue.health()["ready"]:  # before, nobody can say what was foreign
        others.append(asyncio.create_task(hands(exchange, rng, moved)))
    await life.trade(rng.uniform(1.0, 60.0))
    for _ in range(rng.randint(0, 3)):
        await life.die()
        await asyncio.sleep(rng.uniform(0.0, 40.0))
        life = TinyBot(exchange, desk, rng)
        start = asyncio.create_task(life.begin())
        await asyncio.wait([start], timeout=rng.choice((100.0, 100.0, rng.uniform(0.0, 20.0))))
        if start.done():
            await life.trade(rng.uniform(1.0, 60.0))
        start.cancel()
    exchange.faults = Faults()
    if rng.random() < 0.5:
        await life.die()
        life = TinyBot(exchange, desk, rng)
        await life.begin()
    for other in others[1:]:
        other.cancel()
    await asyncio.sleep(100.0)
    others[0].cancel()
    await asyncio.sleep(40.0)
    found = faults_of(desk, exchange.truth()) + life.venue.health()["faults"]
    if desk.perp:
        found += [f"{s}: {q} at the venue" for s, q in exchange.truth().positions.items() if q != desk.held.get(s, 0)]
    else:
        found += coins_of(desk, exchange.truth(), moved)
        foreign = {coin: Decimal(text) for coin, text in life.venue.health()["foreign"].items()}
        found += [f"{coin}: {q} is taken for foreign" for coin, q in foreign.items() if abs(q - moved[coin]) > DUST]
    found += [f"{text} is on" for text in desk.standing()] + [f"cut: {one.text}" for one in desk.outside]
    await life.die()
    await exchange.close()
    return desk, found


def main(first: int, last: int) -> int:
    """Run the seeds first .. last - 1 and print those that went wrong; their number."""
    wrong = 0
    for seed in range(first, last):
        _, found = simulate(seed, lambda loop, seed=seed: lives(loop, seed))  # type: ignore[misc]
        wrong += bool(found)
        if found:
            print(seed, "; ".join(found))
    print(f"{last - first} seeds, {wrong} wrong")
    return wrong


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])) > 0)
