"""The numbers that signals and kernels agree on: operations, columns of a compiled signal, reasons to hold."""

# --- why a signal has no value: the low three bits of a state; the bits above are the index of the signal -------------
OK, WARMING, STALE, SUSPECT, ORIGIN, NOT_FINITE, NO_BAR = range(7)
STATES = ("ok", "warming up", "stale", "suspect", "unpinned model", "not finite", "no bar")
STATE_BITS = 3
SIGNALS_MAX = 31  # five bits of a byte are left for the index

# --- operations -------------------------------------------------------------------------------------------------------
CLOSE, EMA, SMA, RSI, MOMENTUM, VOLATILITY, ZSCORE, ATR, DONCHIAN = range(9)  # from ATR on, of highs and lows too
MOOD, MOOD_CHANGE, DISAGREEMENT, ATTENTION, NOVELTY, MOOD_AGE = range(16, 22)
LEVEL, CHANGE, METRIC_ZSCORE, STALENESS = range(32, 36)
OWN = 64  # stepped by Python: indicators of `ta`, and a user's own

BAR_COLUMNS = ("open", "high", "low", "close", "volume")

# --- columns of a compiled signal, one row of int64 per signal --------------------------------------------------------
OP = 0
AT = 1  # first slot of its state in the slab
COLUMN = 2  # which bar column it reads, or which part it gives
WINDOW = 3  # bars, buckets or, for metrics, nanoseconds
NEED = 4  # bars until it is ready
ON_NS = 5  # length of its own, coarser bar; 0 = the run's bar
RESTART_NS = 6  # a silence longer than this starts a bar signal anew
MAX_AGE_NS = 7  # older than this is stale; 0 = never
SCOPE = 8  # which coins' facts it counts: OWN_COIN, MARKET, or a coin's index
CODE_WIDTH = 9
OWN_COIN, MARKET, NO_COIN = -2, -1, -3

# --- parameters, one row of float64 per signal ------------------------------------------------------------------------
PAR_WIDTH = 8
LOW, HIGH = 6, 7  # the range a fitted strategy has seen

# --- state of a bar signal: slots before its operation's own ----------------------------------------------------------
S_COUNT, S_VALUE, S_LAST, S_END, S_OPEN, S_HIGH, S_LOW, S_CLOSE, S_VOLUME = range(9)
BAR_HEAD = 9

# --- state of signals moved by posts and by metrics -------------------------------------------------------------------
MOOD_WIDTH = 10  # slots of a mood; they are there three times, and the hour of the last copy
MOOD_SLOTS = 3 * MOOD_WIDTH + 1
ATTENTION_RING = 8  # slots before the ring of counts
ATTENTION_SPARE = 4  # buckets beside the window, for decisions that lag behind the newest post
METRIC_SLOTS = 7


# --- why a post is discounted; the texts stand in `signals.guard` -----------------------------------------------------
FINE, DUPLICATES, TRICKS, TEMPLATE, AUTHOR, STRANGERS, SOURCE, JUMP = range(8)
# Bits beside those of `data.facts.FLAGS`: an author with few followers, or nobody knows how many; not a post at all,
# but word that until the time in `cluster` posts are missing, since a feed is or was down.
SMALL, GAP = 32, 64


def scope_of(coin: str | None, coins: tuple[str, ...]) -> int:
    """Scope of a signal that looks at one coin by name, at the market ("*"), or at each symbol's own (None)."""
    if coin is None:
        return OWN_COIN
    if coin == "*":
        return MARKET
    return coins.index(coin) if coin in coins else NO_COIN
