"""Two ledgers of twenty bars worked out by hand: what each bar does is told beside it, and the run has to equal it to
the cent.
"""

from dataclasses import replace

import numpy as np
import pytest

from backtest.costs import FillModel
from risk.limits import MarketSpec
from risk.records import ENTRY, EV_FUNDING, EV_LIQUIDATED, EXIT, LIQUIDATION, STOP_LOSS
from tests.backtest.oracles.play import HOUR, IDEAL, NAN, START, Play, Setup, bars

LOT = MarketSpec(tick=0.01, lot=0.01, min_notional=1.0, maintenance=0.05)

# --- spot: 10,000 of cash, fee of 0.2 % in the coin bought and in quote when selling, a tenth of a bar's volume, stop
#
# close of 2: wants 8 coins. Volume of 50 a bar, so 5 in one bar.
# open of 3 at 100:  buys 5, pays 500, fee 0.01 coin    -> holds 4.99,  cash 9,500.00
# open of 4 at 102:  buys 3, pays 306, fee 0.006 coin   -> holds 7.984, cash 9,194.00
#                    mean price (4.99 x 100 + 2.994 x 102) / 7.984 = 804.388 / 7.984 = 100.75
# close of 7: wants 4 coins: sells 7.984 - 4 = 3.984, on lots of 0.01: 3.98
# open of 8 at 110:  sells 3.98 for 437.80, fee 0.8756  -> holds 4.004, cash 9,630.9244
# stop: 100.75 x 0.9 = 90.675, on the tick away from the price: 90.67
# open of 12 at 85 is under it: 4.00 of 4.004 sold at 85 for 340.00, fee 0.68 -> holds 0.004, cash 9,970.2444
# closes of 12 to 14 want 4 coins: blocked by the stop. Close of 15 wants none: free again. Close of 16 wants 2.
# open of 17 at 90:  buys 2, pays 180, fee 0.004 coin   -> holds 0.004 + 1.996 = 2.000, cash 9,790.2444
# close of 18 wants none; open of 19 at 95: sells 2.00 for 190.00, fee 0.38 -> holds 0, cash 9,979.8644
SPOT_BARS = [
    (100, 100, 100, 100, 50), (100, 101, 99, 100, 50), (100, 101, 99, 100, 50), (100, 103, 99, 102, 50),
    (102, 104, 101, 104, 50), (104, 106, 103, 106, 50), (106, 108, 105, 108, 50), (108, 110, 107, 110, 50),
    (110, 112, 109, 108, 50), (108, 108, 100, 100, 50), (100, 100, 95, 95, 50), (95, 96, 91, 91, 50),
    (85, 88, 84, 86, 50), (86, 88, 85, 87, 50), (87, 89, 86, 88, 50), (88, 90, 87, 89, 50),
    (89, 91, 88, 90, 50), (90, 93, 89, 92, 50), (92, 95, 91, 95, 50), (95, 96, 94, 95, 50),
]  # fmt: skip
SPOT_WEIGHTS = [NAN, NAN, 8, NAN, NAN, NAN, NAN, 4, NAN, NAN, NAN, NAN, 4, 4, 4, 0, 2, NAN, 0, NAN]
SPOT_FILLS = [  # bar, purpose, quantity, price, fee in quote, fee in the coin, held after
    (3, ENTRY, 5.00, 100.0, 1.0, 0.010, 4.990),
    (4, ENTRY, 3.00, 102.0, 0.612, 0.006, 7.984),
    (8, EXIT, -3.98, 110.0, 0.8756, 0.0, 4.004),
    (12, STOP_LOSS, -4.00, 85.0, 0.68, 0.0, 0.004),
    (17, ENTRY, 2.00, 90.0, 0.36, 0.004, 2.000),
    (19, EXIT, -2.00, 95.0, 0.38, 0.0, 0.0),
]
SPOT_CASH = (
    [10_000.0] * 3 + [9_500.0] + [9_194.0] * 4 + [9_630.9244] * 4 + [9_970.2444] * 5 + [9_790.2444] * 2 + [9_979.8644]
)
SPOT_HELD = [0.0] * 3 + [4.99] + [7.984] * 4 + [4.004] * 4 + [0.004] * 5 + [2.0] * 2 + [0.0]


def test_spot_by_hand() -> None:
    """Fees in the coin, a partial fill by participation, a gap through a stop."""
    fills = replace(IDEAL, maker=0.002, taker=0.002, fee_asset="received", participation=0.1)
    setup = Setup(
        fills=fills, market=LOT, protection=(0.10, NAN, NAN, 0), limits=replace(Setup().limits, price_collar=0.2)
    )
    play = Play(setup, bars(SPOT_BARS), SPOT_WEIGHTS).run()
    assert len(play.fills) == len(SPOT_FILLS)
    for fill, want in zip(play.fills, SPOT_FILLS, strict=True):
        got = [fill[name] for name in ("row", "purpose", "qty", "price", "fee", "fee_base", "held")]
        assert got == pytest.approx(want, abs=1e-9)
        assert fill["ns"] == START + want[0] * HOUR
    np.testing.assert_allclose(play.accounts["cash"], SPOT_CASH, atol=1e-8)
    np.testing.assert_allclose(play.accounts["held"][:, 0], SPOT_HELD, atol=1e-9)
    closes = np.array([row[3] for row in SPOT_BARS])
    np.testing.assert_allclose(play.tape["equity"], np.array(SPOT_CASH) + np.array(SPOT_HELD) * closes, atol=1e-8)
    # 8 - 0.016 coins cost 806; mean 100.75. Realised: 3.98 x 9.25 - 0.8756, 4 x -15.75 - 0.68, and so on.
    assert play.fills["realised"][2] == pytest.approx(3.98 * (110 - 100.75) - 0.8756, abs=1e-9)
    assert play.fills["realised"][3] == pytest.approx(4.00 * (85 - 100.75) - 0.68, abs=1e-9)
    assert play.desk.account["equity"] == pytest.approx(9_979.8644, abs=1e-9)


# --- perpetual: wallet of 1,000, leverage 5, taker 0.1 %, maintenance 5 %, liquidation fee 1 %, funding every 8 hours
#
# Bars begin at 00:00. Fundings are due at 00:00, 08:00 and 16:00 of that day.
# close of 1 wants 10 coins long.
# open of 2 (02:00) at 100: 10 x 100, margin 200, fee 1 -> free 799.00, margin 200
# 08:00, before the open of 8: mark is the close of 7, 104; rate +0.1 %: pays 10 x 104 x 0.001 = 1.04 -> free 797.96
# close of 9 wants 4: open of 10 at 110 sells 6: margin 120 freed, profit 6 x 10 = 60, fee 0.66
#                    -> free 797.96 + 120 + 60 - 0.66 = 977.30, margin 80, holds 4 at 100
# close of 11 wants 5 short: sells 4 first, then the short, at one open.
# open of 12 at 108: sells 4: margin 80 freed, profit 32, fee 0.432 -> free 1,088.868, flat
#                    then short 5 x 108 = 540, margin 108, fee 0.54 -> free 980.328, margin 108
# 16:00, before the open of 16: mark is the close of 15, 112; rate +0.05 %: a short gets 5 x 112 x 0.0005 = 0.28 -> free
# 980.608
# liquidation of the short: (5 x 108 + 108) / (5 x 1.05) = 648 / 5.25 = 123.428571...
# bar 17 goes to 121 (nothing), bar 18 opens at 122 and goes to 126: liquidated at 123.428571...
#                    loss 5 x 15.428571 = 77.142857, margin left 30.857143, fee 1 % of 617.142857 = 6.171429
#                    -> free 980.608 + 30.857143 - 6.171429 = 1,005.293714
PERP_BARS = [
    (100, 100, 100, 100), (100, 101, 99, 100), (100, 102, 99, 101), (101, 103, 100, 102), (102, 103, 101, 102),
    (102, 104, 101, 103), (103, 104, 102, 103), (103, 105, 102, 104), (104, 108, 103, 107), (107, 110, 106, 110),
    (110, 111, 108, 109), (109, 110, 107, 108), (108, 110, 107, 109), (109, 111, 108, 110), (110, 112, 109, 111),
    (111, 113, 110, 112), (112, 116, 111, 115), (115, 121, 114, 120), (122, 126, 121, 125), (125, 126, 120, 121),
]  # fmt: skip
PERP_WEIGHTS = [NAN, 10] + [NAN] * 7 + [4, NAN, -5] + [NAN] * 8
PERP_FUNDING = [(START, 0, 0.01), (START + 8 * HOUR, 0, 0.001), (START + 16 * HOUR, 0, 0.0005)]
LEVEL = 648.0 / 5.25
LAST_FREE = 980.608 + 108.0 - 5.0 * (LEVEL - 108.0) - 0.01 * 5.0 * LEVEL
PERP_FILLS = [
    (2, ENTRY, 10.0, 100.0, 1.0, 10.0),
    (10, EXIT, -6.0, 110.0, 0.66, 4.0),
    (12, EXIT, -4.0, 108.0, 0.432, 0.0),
    (12, ENTRY, -5.0, 108.0, 0.54, -5.0),
    (18, LIQUIDATION, 5.0, LEVEL, 0.01 * 5.0 * LEVEL, 0.0),
]
PERP_FREE = [1000.0] * 2 + [799.0] * 6 + [797.96] * 2 + [977.30] * 2 + [980.328] * 4 + [980.608] * 2 + [LAST_FREE] * 2
PERP_MARGIN = [0.0] * 2 + [200.0] * 8 + [80.0] * 2 + [108.0] * 6 + [0.0] * 2
PERP_PROFIT = [  # unrealised, at each close
    *(0, 0), *(10 * up for up in (1, 2, 2, 3, 3, 4, 7, 10)), *(4 * up for up in (9, 8)),
    *(-5 * up for up in (1, 2, 3, 4, 7, 12)),
    *(0, 0),
]  # fmt: skip


def test_perpetual_by_hand() -> None:
    """Leverage, funding at 8 h, a turn in two orders, liquidation with its fee."""
    fills = FillModel(
        profile="by hand", maker=0.001, taker=0.001, fee_asset="quote", spread=0.0, impact=0.0, participation=1.0,
        latency_ns=0, liquidation_fee=0.01,
    )  # fmt: skip
    setup = Setup(fills=fills, market=LOT, cash=1000.0, perp=True, leverage=5.0, short=True)
    play = Play(setup, bars(PERP_BARS), PERP_WEIGHTS, funding=PERP_FUNDING).run()
    assert len(play.fills) == len(PERP_FILLS)
    for fill, want in zip(play.fills, PERP_FILLS, strict=True):
        got = [fill[name] for name in ("row", "purpose", "qty", "price", "fee", "held")]
        assert got == pytest.approx(want, abs=1e-9)
    np.testing.assert_allclose(play.accounts["cash"], PERP_FREE, atol=1e-8)
    equity = np.array(PERP_FREE) + np.array(PERP_MARGIN) + np.array(PERP_PROFIT)
    np.testing.assert_allclose(play.tape["equity"], equity, atol=1e-8)
    paid = play.events_of(EV_FUNDING)
    assert paid["observed"].tolist() == pytest.approx([1.04, -0.28]) and paid["price"].tolist() == [104.0, 112.0]
    assert play.events_of(EV_LIQUIDATED)["price"].tolist() == pytest.approx([LEVEL])
    assert pytest.approx(1_005.293714, abs=1e-6) == LAST_FREE
