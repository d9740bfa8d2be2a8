"""The test venue's matching engine: what it books is exact, so that it can be the judge of every fault test."""

from decimal import Decimal as D

import pytest

from tests.venue.margin import liquidation_price, set_leverage
from tests.venue.matching import Engine
from tests.venue.records import ZERO, Happening, Refusal, Spec

BTC = "BTCUSDT"
PERP = "BTCPERP"


def spot(price: str = "100", quote: str = "10000", base: str = "2") -> Engine:
    """One spot market with money in the account."""
    engine = Engine([Spec(BTC, "BTC", "USDT"), Spec("BNBUSDT", "BNB", "USDT")])
    engine.deposit("USDT", quote, 0)
    engine.deposit("BTC", base, 0)
    engine.set_price(BTC, price, 0)
    engine.set_price("BNBUSDT", "500", 0)
    return engine


def perp(leverage: int = 5) -> Engine:
    """One linear perpetual with collateral in the account."""
    engine = Engine([Spec(PERP, "BTC", "USDT", kind="linear", lot=D("0.001"), min_qty=D("0.001"))])
    engine.deposit("USDT", "1000", 0)
    engine.set_price(PERP, "100", 0)
    set_leverage(engine.account(), engine.specs[PERP], D(leverage))
    return engine


def conserved(engine: Engine, coin: str, start: D) -> None:
    """Coins in the account are what was put in, moved by trades, fees and funding, and nothing else."""
    held = engine.account()
    there = held.total(coin) + sum((one.margin for one in held.positions.values()), ZERO)
    for trade in engine.trades:
        spec, sign = engine.specs[trade.symbol], 1 if trade.side == "buy" else -1
        if spec.kind == "linear":
            start += trade.realised
        else:
            start += sign * trade.qty if coin == spec.base else -sign * trade.qty * trade.price
        start -= trade.fee if trade.fee_coin == coin else ZERO
    assert there == start - sum((one.amount for one in engine.fundings), ZERO)
    assert held.free[coin] >= 0 and held.locked[coin] >= 0


def test_market_buy_pays_the_ask_and_its_fee_in_the_coin_bought() -> None:
    """Less is held than was ordered."""
    engine = spot()
    order = engine.place(BTC, "buy", "market", "1", 5)
    assert order.status == "FILLED" and order.cost == D("100.01")
    assert engine.account().free["BTC"] == D("2.999") and engine.trades[0].fee_coin == "BTC"
    conserved(engine, "USDT", D(10000))


def test_limit_rests_locks_fills_in_parts_and_frees_the_rest() -> None:
    """Depth limits a fill; what is cancelled comes back to the cent."""
    engine = spot()
    engine.set_depth(BTC, "0.4", count=1)
    order = engine.place(BTC, "buy", "limit", "1", 1, limit="99")
    assert engine.account().locked["USDT"] == 99
    engine.set_price(BTC, "98.5", 2)
    assert order.status == "PARTIALLY_FILLED" and order.filled == D("0.4") and engine.trades[0].maker
    assert engine.trades[0].price == 99
    engine.cancel(order, 3)
    assert engine.account().locked["USDT"] == 0
    assert engine.account().free["USDT"] == D(10000) - D("39.6")
    with pytest.raises(Refusal, match="no-order"):
        engine.cancel(order, 4)
    conserved(engine, "USDT", D(10000))


def test_market_order_beyond_the_depth_expires_with_what_it_got() -> None:
    """The rest of a market order never rests."""
    engine = spot()
    engine.set_depth(BTC, "0.3", count=2)
    order = engine.place(BTC, "sell", "market", "1", 1)
    assert order.status == "EXPIRED" and order.filled == D("0.6")
    assert engine.account().locked["BTC"] == 0
    conserved(engine, "USDT", D(10000))


def test_stop_triggers_once_and_sells_at_what_is_there() -> None:
    """A stop waits with its coins locked; a jump through it sells below it."""
    engine = spot()
    seen: list[Happening] = []
    engine.hooks.append(seen.append)
    stop = engine.place(BTC, "sell", "stop", "1", 1, stop="90")
    assert engine.account().locked["BTC"] == 1
    engine.set_price(BTC, "90.01", 2)
    assert stop.status == "NEW"
    engine.set_price(BTC, "85", 3)
    assert stop.status == "FILLED" and engine.trades[0].price == D("84.99")
    assert [one.what for one in seen if one.order] == ["NEW", "TRIGGERED", "TRADE"]
    with pytest.raises(Refusal, match="would-trigger"):
        engine.place(BTC, "sell", "stop", "1", 4, stop="86")
    goal = engine.place(BTC, "sell", "take-profit", "0.5", 5, stop="95")
    engine.set_price(BTC, "96", 6)
    assert goal.status == "FILLED"


def test_a_client_id_is_unique_among_open_orders_only() -> None:
    """So it is no idempotency key: a filled one may be placed again."""
    engine = spot()
    engine.place(BTC, "buy", "market", "0.1", 1, client_id="a")
    engine.place(BTC, "buy", "limit", "0.1", 2, client_id="a", limit="90")
    with pytest.raises(Refusal, match="duplicate"):
        engine.place(BTC, "buy", "limit", "0.1", 3, client_id="a", limit="90")
    assert len(engine.orders) == 2


@pytest.mark.parametrize(
    ("why", "order"),
    [
        ("funds", {"side": "buy", "kind": "market", "qty": "1000"}),
        ("funds", {"side": "sell", "kind": "limit", "qty": "3", "limit": "110"}),
        ("lot-size", {"side": "buy", "kind": "market", "qty": "0.000001"}),
        ("price-filter", {"side": "buy", "kind": "limit", "qty": "1", "limit": "99.001"}),
        ("notional", {"side": "buy", "kind": "limit", "qty": "0.01", "limit": "99"}),
        ("price-band", {"side": "buy", "kind": "limit", "qty": "1", "limit": "10"}),
        ("would-match", {"side": "buy", "kind": "post-only", "qty": "1", "limit": "101"}),
    ],
)
def test_refusals_leave_nothing_behind(why: str, order: dict[str, str]) -> None:
    """What is refused has no id, no lock and no trace."""
    engine = spot()
    before = engine.truth()
    kind, side, qty = order.pop("kind"), order.pop("side"), order.pop("qty")
    with pytest.raises(Refusal, match=why):
        engine.place(BTC, side, kind, qty, 1, **order)  # type: ignore[arg-type]
    assert engine.truth() == before


def test_fees_in_a_third_coin_while_there_is_enough_of_it() -> None:
    """Afterwards they are taken in what is received again."""
    engine = spot()
    engine.account().fee_coin = "BNB"
    engine.deposit("BNB", "0.0002", 0)
    for _ in range(2):
        engine.place(BTC, "buy", "market", "1", 1)
    assert [(one.fee_coin, one.fee) for one in engine.trades] == [("BNB", D("0.00015001")), ("BTC", D("0.001"))]


def test_a_halted_symbol_takes_no_orders_but_lets_go_of_them() -> None:
    """A delisted one expires them."""
    engine = spot()
    one = engine.place(BTC, "buy", "limit", "1", 1, limit="90")
    two = engine.place(BTC, "buy", "limit", "1", 1, limit="90")
    engine.set_status(BTC, "BREAK", 2)
    engine.set_price(BTC, "80", 3)
    with pytest.raises(Refusal, match="halted"):
        engine.place(BTC, "buy", "market", "1", 4)
    engine.cancel(one, 5)
    engine.set_status(BTC, "DELISTED", 6)
    assert (one.status, two.status) == ("CANCELED", "EXPIRED")
    assert engine.account().locked["USDT"] == 0


def test_a_perpetual_opens_adds_closes_and_turns() -> None:
    """One net position: entry averaged, margin isolated, profit realised on what closes."""
    engine = perp()
    held = engine.account()
    engine.place(PERP, "buy", "market", "1", 1)
    engine.set_price(PERP, "110", 2)
    engine.place(PERP, "buy", "market", "1", 3)
    position = held.position(PERP)
    assert position.qty == 2 and position.entry == D("105.01") and position.margin == D("42.004")
    engine.place(PERP, "sell", "market", "3", 4)
    assert position.qty == -1 and position.entry == D("109.99")
    assert engine.trades[-1].realised == D("9.96") and engine.trades[-1].closed_qty == 2
    conserved(engine, "USDT", D(1000))


def test_reduce_only_never_opens() -> None:
    """It is refused when flat, clipped to the position, and cancelled when that is gone."""
    engine = perp()
    with pytest.raises(Refusal, match="reduce-only"):
        engine.place(PERP, "sell", "market", "1", 1, reduce_only=True)
    engine.place(PERP, "buy", "market", "1", 2)
    stop = engine.place(PERP, "sell", "stop", "1", 3, stop="95", reduce_only=True)
    order = engine.place(PERP, "sell", "market", "2", 4, reduce_only=True)
    assert order.filled == 1 and order.status == "CANCELED" and stop.status == "CANCELED"
    assert engine.account().position(PERP).qty == 0
    conserved(engine, "USDT", D(1000))


def test_funding_is_paid_by_the_long_at_the_mark() -> None:
    """Position times mark times rate."""
    engine = perp()
    engine.place(PERP, "buy", "market", "2", 1)
    (paid,) = engine.fund(PERP, "0.0001", 2)
    assert paid.amount == D("0.02")
    conserved(engine, "USDT", D(1000))


def test_liquidation_takes_the_margin_and_no_more() -> None:
    """At the liquidation price, once; orders of the symbol go first."""
    engine = perp(leverage=10)
    engine.place(PERP, "buy", "market", "10", 1)
    resting = engine.place(PERP, "buy", "limit", "1", 1, limit="50")
    position = engine.account().position(PERP)
    margin, free = position.margin, engine.account().free["USDT"]
    at = liquidation_price(position, engine.specs[PERP])
    assert at is not None
    engine.set_price(PERP, at + D("0.01"), 2)
    assert position.qty == 10
    engine.set_price(PERP, at, 3)
    assert position.qty == 0 and resting.status == "CANCELED" and engine.trades[-1].liquidation
    assert engine.account().free["USDT"] == free + resting.lock_unit
    assert engine.trades[-1].realised - engine.trades[-1].fee == -margin
    conserved(engine, "USDT", D(1000))
