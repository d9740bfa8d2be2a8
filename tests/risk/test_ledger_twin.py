"""The compiled ledger against a slow one in exact decimals, over many random fills."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from risk.limits import MarketSpec
from tests.backtest.oracles.play import HOUR, OPEN_LIMITS, START, Setup
from tests.backtest.oracles.probes import probe_book
from tests.backtest.oracles.slow_ledger import SlowLedger

LOT = 0.001
SYMBOLS = 3
CASH = 1e7
KINDS = {
    "spot, fee in the coin": {"perp": False, "coin_fee": True, "leverage": 1.0},
    "spot, fee in quote": {"perp": False, "coin_fee": False, "leverage": 1.0},
    "perpetual": {"perp": True, "coin_fee": False, "leverage": 5.0},
    "perpetual without leverage": {"perp": True, "coin_fee": False, "leverage": 1.0},
}


def story(kind: dict[str, Any], count: int, seed: int) -> tuple[Any, Any]:
    """Random fills and fundings that a venue could report: none crosses zero, a turn is an exit, then an entry."""
    rng = np.random.default_rng(seed)
    steps = np.zeros((count, 3), np.int64)
    numbers = np.zeros((count, 4))
    held = np.zeros(SYMBOLS)
    prices = np.array([100.0, 3.0, 40_000.0])
    size = np.array([1000, 30_000, 10])
    draws = rng.random((count, 6))
    for i in range(count):
        k = int(draws[i, 0] * SYMBOLS)
        prices[k] *= np.exp(0.01 * (draws[i, 1] - 0.5))
        steps[i] = (0, k, START + i * HOUR // 20)
        if kind["perp"] and draws[i, 2] < 0.05:
            steps[i, 0] = 1
            numbers[i, :2] = 1e-4 * (draws[i, 3] - 0.4), prices[k]
            continue
        lots = np.floor(abs(held[k]) / LOT + 1e-9)
        if lots >= 1 and (draws[i, 2] < 0.5 or abs(held[k]) > 5 * size[k] * LOT):
            part = lots if draws[i, 3] < 0.4 else max(np.floor(lots * draws[i, 4]), 1.0)
            qty = -np.sign(held[k]) * part * LOT
        else:
            side = (
                1.0 if not kind["perp"] else (np.sign(held[k]) if lots >= 1 else (1.0 if draws[i, 5] < 0.5 else -1.0))
            )
            qty = side * (1 + np.floor(draws[i, 4] * size[k])) * LOT
        in_coin = 0.001 * qty if kind["coin_fee"] and qty > 0 else 0.0
        numbers[i] = qty, prices[k], 0.001 * abs(qty) * prices[k], in_coin
        held[k] += qty - in_coin
        if abs(held[k]) < 1e-9 * LOT:
            held[k] = 0.0
    return steps, numbers


@pytest.mark.parametrize("name", KINDS)
def test_compiled_ledger_equals_the_exact_one(name: str) -> None:
    """Cash, equity, quantity, margin and liquidation price agree to 1e-6 after each of 25,000 fills."""
    kind = KINDS[name]
    count = 25_000
    steps, numbers = story(kind, count, seed=len(name))
    market = MarketSpec(tick=0.01, lot=LOT, min_notional=0.0, maintenance=0.01)
    desk = Setup(cash=CASH, perp=kind["perp"], leverage=kind["leverage"], market=market, limits=OPEN_LIMITS).desk(
        SYMBOLS
    )
    got = np.zeros((count, 6))
    probe_book(desk.ref, count, steps.ctypes.data, numbers.ctypes.data, got.ctypes.data)
    slow = SlowLedger(
        Decimal(CASH), SYMBOLS, perp=kind["perp"], leverage=Decimal(kind["leverage"]), dust=Decimal(1e-9) * Decimal(LOT)
    )
    want = np.zeros_like(got)
    for i, ((what, k, _), row) in enumerate(zip(steps.tolist(), numbers.tolist(), strict=True)):
        qty, price, fee, in_coin = map(Decimal, row)
        if what == 0:
            slow.fill(k, qty, price, fee, in_coin)
        else:
            slow.fund(k, qty, price)
        position = slow.book[k]
        mean = position.mean if position.qty != 0 else Decimal(0)
        level = slow.liquidation(k, Decimal(0.01)) if kind["perp"] else Decimal(0)
        want[i] = slow.cash, slow.equity, position.qty, mean, position.margin, level
    flat = want[:, 2] == 0.0
    got[flat, 3] = 0.0  # a mean price of nothing
    if not kind["perp"]:
        got[:, 5] = 0.0
    assert (np.sign(got[:, 2]) == np.sign(want[:, 2])).all()
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-6)
    account = desk.account
    assert abs(account["fees"] - float(slow.fees)) < 1e-6
    assert abs(account["funding"] - float(slow.funding)) < 1e-6
    assert abs(account["realised"] - float(slow.realised - slow.fees)) < 1e-4
    assert abs(steps[:, 0].sum() - (0 if not kind["perp"] else 1250)) < 200
    assert len(np.unique(np.sign(want[:, 2]))) == (3 if kind["perp"] else 2)
