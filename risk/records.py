"""The records that the law works on: plain numpy structured arrays, the same in backtest, paper and live.

Units: money in the run's quote currency, quantities in base units (signed: long > 0), prices in quote per base, times
in nanoseconds since 1970 UTC, fees and slippage as fractions of notional. One `Desk` is all state of one wallet; a
snapshot of its arrays is a snapshot of the bot.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# --- what an order is -------------------------------------------------------------------------------------------------
MARKET, LIMIT, POST_ONLY, STOP, TAKE = range(5)
KINDS = ("market", "limit", "post-only", "stop", "take-profit")
ENTRY, EXIT, STOP_LOSS, TAKE_PROFIT, TRAILING, TIME_EXIT, FLATTEN_EXIT, LIQUIDATION, STALE_EXIT, OUTSIDE = range(10)
PURPOSES = (
    "entry",
    "exit",
    "stop-loss",
    "take-profit",
    "trailing-stop",
    "time-exit",
    "flatten",
    "liquidation",
    "stale-exit",
    "outside",
)

# --- rules: the number is the control's number; three digits where one control has several limits
# ----------------------
APPROVED = 0
R_FINITE, R_FILTERS, R_COLLAR, R_SIZE, R_RATE, R_REPEAT, R_DUPLICATE = 1, 2, 3, 4, 5, 6, 7
R_PLACES = 501
R_POSITION, R_GROSS, R_NET, R_LEVERAGE = 8, 801, 802, 803
R_ASSET_SHARE, R_TAG_SHARE = 9, 901
R_DAY_LOSS, R_DAY_LOSS_FLATTEN, R_DRAWDOWN, R_STREAK, R_FUNDS, R_BAR_AGE = 11, 1101, 12, 13, 14, 15
R_EQUITY, R_UNKNOWN, R_SIGNAL, R_NOVELTY, R_TURNOVER, R_FEES, R_REDUCE, R_KILL = 16, 18, 20, 23, 24, 2401, 27, 28
R_RECONCILE, R_HEARTBEAT = 17, 25
R_VENUE, R_STREAM, R_CLOCK, R_JOURNAL, R_KEY, R_FOREIGN, R_MARKET = range(91, 98)
R_FLOOD, R_TWO_SOURCES = 21, 22
R_LADDER, R_STRATEGY = 90, 46
RULES = {
    R_FINITE: "finite numbers", R_FILTERS: "venue filters", R_COLLAR: "price collar", R_SIZE: "order size",
    R_RATE: "order rate", R_PLACES: "working orders", R_REPEAT: "repeat throttle", R_DUPLICATE: "duplicate intent",
    R_POSITION: "position",
    R_GROSS: "gross notional", R_NET: "net notional", R_LEVERAGE: "gross leverage", R_ASSET_SHARE: "asset share",
    R_TAG_SHARE: "tag share", R_DAY_LOSS: "daily loss", R_DAY_LOSS_FLATTEN: "daily loss, second level",
    R_DRAWDOWN: "drawdown", R_STREAK: "loss streak", R_FUNDS: "reserved funds", R_BAR_AGE: "market-data age",
    R_EQUITY: "equity sanity", R_UNKNOWN: "unknown orders", R_SIGNAL: "signal age and origin", R_NOVELTY: "novelty",
    R_FLOOD: "flood and manipulation", R_TWO_SOURCES: "two sources",
    R_TURNOVER: "turnover per day", R_FEES: "fees per day", R_REDUCE: "reduce-only", R_KILL: "kill latch",
    R_LADDER: "risk ladder", R_STRATEGY: "strategy errors", R_RECONCILE: "reconciliation", R_HEARTBEAT: "heartbeat",
    R_VENUE: "venue out of reach", R_STREAM: "private stream", R_CLOCK: "clock", R_JOURNAL: "journal",
    R_KEY: "key", R_FOREIGN: "another session", R_MARKET: "market closed",
}  # fmt: skip

# --- the ladder -------------------------------------------------------------------------------------------------------
ACTIVE, NO_NEW_RISK, REDUCE_ONLY, FLATTEN, HALTED = range(5)
LEVELS = ("ACTIVE", "NO_NEW_RISK", "REDUCE_ONLY", "FLATTEN", "HALTED")

# --- what the event log holds -----------------------------------------------------------------------------------------
(
    EV_REFUSED,
    EV_LADDER,
    EV_HOLD,
    EV_ERROR,
    EV_FUNDING,
    EV_LIQUIDATED,
    EV_EXPIRED,
    EV_CANCELLED,
    EV_REJECTED,
    EV_CLIPPED,
    EV_FROZEN,
    EV_UNKNOWN,
    EV_LOST,
    EV_OUTSIDE,
) = range(1, 15)
EVENTS = (
    "",
    "refused",
    "ladder",
    "hold",
    "strategy-error",
    "funding",
    "liquidated",
    "expired",
    "cancelled",
    "rejected",
    "clipped",
    "frozen",
    "unknown",
    "lost",
    "outside",
)

# --- why a symbol's decision is HOLD: the low three bits of a signal state; the bits above are the signal's index
# ---------
OK, WARMING, STALE, SUSPECT, ORIGIN, NOT_FINITE, NO_BAR = range(7)
STATES = ("ok", "warming up", "stale", "suspect", "unpinned model", "not finite", "no bar")

FILL = np.dtype([
    ("ns", "i8"), ("row", "i8"), ("order", "i8"), ("symbol", "i8"), ("purpose", "i8"), ("maker", "i8"),
    ("qty", "f8"),  # signed quantity traded, before a fee taken in the asset
    ("price", "f8"),
    ("fee", "f8"),  # in quote, at the fill's price
    ("fee_base", "f8"),  # the part of the fee taken in the asset bought, in base units; else 0
    ("slippage", "f8"),  # quote lost against the price at the decision; below 0 when the price came our way
    ("held", "f8"),  # position after the fill
    ("realised", "f8"),  # profit realised by this fill, after its fee
])  # fmt: skip

ORDER = np.dtype([
    ("id", "i8"), ("symbol", "i8"), ("side", "i8"), ("kind", "i8"), ("purpose", "i8"), ("state", "i8"),
    ("decided_ns", "i8"), ("active_ns", "i8"), ("expires_ns", "i8"), ("done_ns", "i8"), ("decision", "i8"),
    ("chases", "i8"), ("resting", "i8"),
    ("asked_ns", "i8"),  # when its cancel was asked for, of a venue that has to confirm it; else 0
    ("qty", "f8"), ("filled", "f8"), ("limit", "f8"), ("stop", "f8"), ("ref", "f8"), ("avg_price", "f8"),
    ("reserved", "f8"),  # quote held back for it until its terminal report (control 14)
])  # fmt: skip

ACCOUNT = np.dtype([
    ("cash", "f8"), ("reserved", "f8"), ("equity", "f8"), ("gross", "f8"), ("net", "f8"),
    ("units", "f8"), ("high", "f8"),  # unitised NAV: equity / units, and its highest value
    ("day_end_ns", "i8"), ("day_mark", "f8"), ("turnover_day", "f8"), ("fees_day", "f8"),
    ("losses", "i8"), ("level", "i8"), ("now_ns", "i8"), ("open_ns", "i8"), ("row", "i8"),
    ("n_orders", "i8"), ("n_fills", "i8"), ("n_events", "i8"), ("n_done", "i8"), ("next_id", "i8"), ("decision", "i8"),
    ("rate_head", "i8"), ("rate_breaches", "i8"), ("rate_breach_ns", "i8"), ("intent_head", "i8"),
    ("errors", "i8"), ("error_run", "i8"), ("clipped", "i8"), ("planning", "i8"), ("dirty", "i8"),
    ("fees", "f8"), ("slippage", "f8"), ("funding", "f8"), ("realised", "f8"),
    ("elsewhere", "f8"),  # fees paid in a third coin, by their worth: gone from cash here, still in the wallet there
])  # fmt: skip

BOOK = np.dtype([
    ("qty", "f8"), ("avg", "f8"), ("margin", "f8"), ("last", "f8"), ("last_ns", "i8"),
    ("target", "f8"),  # quantity wanted by the last decision, NaN when there is nothing left to do
    ("purpose", "i8"),  # why the target is 0, when it isn't the strategy's wish
    ("work_entry", "f8"), ("work_exit", "f8"), ("work_cost", "f8"),
    ("room", "f8"), ("room_ns", "i8"),  # what the bar opened at room_ns still lets fill
    ("trade_pnl", "f8"), ("entry_ns", "i8"), ("extreme", "f8"), ("inside", "i8"),
    ("blocked", "f8"),  # BARRED or KEPT x the side, until the strategy has wanted 0 or the other side; 0: neither
    ("protected", "i8"), ("unsure_ns", "i8"),
    ("novel_until", "i8"), ("novel_rule", "i8"),  # no new risk until then, and by which rule
    ("wait_ns", "i8"),  # no exit is tried again before then
    ("protect_ns", "i8"), ("refusals", "i8"),  # when protection was last sent, and how often it was refused
])  # fmt: skip

BARRED, KEPT = 1.0, 2.0  # after a protective exit: to stay out; after somebody sold by hand: not to grow

NOVELTY = np.dtype([
    ("return_mean", "f8"), ("return_var", "f8"), ("volume_mean", "f8"), ("volume_var", "f8"), ("prev_close", "f8"),
    ("seen", "i8"),
])  # fmt: skip

MARKETS = np.dtype([
    ("tick", "f8"), ("lot", "f8"), ("min_notional", "f8"), ("max_quantity", "f8"), ("maintenance", "f8"), ("tag", "i8"),
])  # fmt: skip

LIMITS = np.dtype([
    ("order_notional", "f8"), ("orders_per_minute", "i8"), ("orders_per_hour", "i8"), ("exit_reserve", "f8"),
    ("rate_breaches", "i8"), ("repeat_orders", "i8"), ("repeat_window_ns", "i8"),
    ("position_notional", "f8"), ("gross_notional", "f8"), ("net_notional", "f8"), ("gross_leverage", "f8"),
    ("asset_share", "f8"), ("daily_loss", "f8"), ("daily_loss_flatten", "f8"), ("drawdown", "f8"),
    ("loss_streak", "i8"), ("loss_streak_pause_ns", "i8"), ("price_collar", "f8"), ("bar_age_ns", "i8"),
    ("novelty_return_z", "f8"), ("novelty_volume_z", "f8"), ("novelty_pause_ns", "i8"),
    ("flood_pause_ns", "i8"),
    ("turnover_per_day", "f8"), ("fees_per_day", "f8"), ("strategy_errors", "i8"),
])  # fmt: skip

# How a run trades: venue model, execution and sizing. One record, so that every mode hands the kernels the same thing.
POLICY = np.dtype([
    ("perp", "i8"), ("leverage", "f8"), ("maker", "f8"), ("taker", "f8"), ("fee_in_asset", "i8"),
    ("spread", "f8"), ("impact", "f8"), ("participation", "f8"), ("latency_ns", "i8"),
    ("grace_ns", "i8"), ("touch", "i8"),
    ("liquidation_fee", "f8"), ("resume_ns", "i8"),
    ("sizing", "i8"), ("stake", "f8"), ("band", "f8"), ("min_weight", "f8"), ("short", "i8"),
    ("post_only", "i8"), ("offset", "f8"), ("wait_ns", "i8"), ("chases", "i8"), ("then_market", "i8"),
    ("stop_loss", "f8"), ("take_profit", "f8"), ("trailing", "f8"), ("time_exit_ns", "i8"), ("stale_exit_ns", "i8"),
    ("guarded", "i8"),  # 1 when a stop, target, trailing stop or time exit is declared
    ("outside", "i8"), ("stops", "i8"),  # 1 when a venue outside reports what becomes of orders; it keeps stops
])  # fmt: skip
BY_EQUITY, BY_NOTIONAL, BY_QUANTITY = range(3)

LATCH = np.dtype([
    ("level", "i8"), ("since_ns", "i8"), ("until_ns", "i8"), ("rule", "i8"), ("limit", "f8"), ("observed", "f8"),
])  # fmt: skip
# One latch a cause. The account's level is their maximum.
C_RATE, C_REPEAT, C_DAY, C_DRAWDOWN, C_STREAK, C_TURNOVER, C_STRATEGY, C_EQUITY, C_UNKNOWN, C_OPERATOR = range(10)
C_RECONCILE, C_CLOCK, C_STREAM, C_VENUE, C_JOURNAL, C_HEARTBEAT, C_KEY, C_FOREIGN = range(10, 18)
CAUSES = 18
CAUSE_NAMES = (
    "order rate", "repeats", "daily loss", "drawdown", "loss streak", "turnover", "strategy", "equity",
    "unknown orders", "operator", "reconciliation", "clock", "stream", "venue", "journal", "heartbeat", "key",
    "another session",
)  # fmt: skip
NEVER = 2**62  # a latch that only a person clears

EVENT = np.dtype([
    ("ns", "i8"), ("kind", "i8"), ("rule", "i8"), ("symbol", "i8"), ("level", "i8"), ("was", "i8"), ("order", "i8"),
    ("limit", "f8"), ("observed", "f8"), ("qty", "f8"), ("price", "f8"),
])  # fmt: skip

# What is told to a desk besides bars and decisions: one record a message, see `risk.hear`.
MESSAGE = np.dtype([
    ("ns", "i8"), ("kind", "i8"), ("what", "i8"), ("order", "i8"), ("symbol", "i8"), ("maker", "i8"),
    ("qty", "f8"), ("price", "f8"), ("fee", "f8"), ("fee_base", "f8"), ("elsewhere", "f8"),
])  # fmt: skip
M_REPORT, M_CONDITION, M_PAUSE, M_RESUME, M_CLOSE, M_OUTSIDE, M_TRANSFER, M_FUNDING, M_TICK, M_LATE = range(10)
