"""Control 23: know when to do nothing. A bar far outside the trailing spread of returns or volumes pauses new orders."""

import numpy as np

from risk.memory import Ref, book_of, limits_of
from signals.jit import inner as kernel

MEMORY = 1.0 / 500.0  # weight of one bar in the trailing mean and variance
LEAST = 100  # bars seen before anything can be called unusual


@kernel
def watch(desk: Ref, now: int, k: int, close: float, volume: float) -> None:
    """Judge the decision bar that closed at `now` against the bars before it, then learn it.

    z = (x - mean) / sd with exponentially weighted moments (West 1979), the present bar left out.
    """
    limits = limits_of(desk)
    book = book_of(desk, k)
    if book.prev_close > 0.0:
        gained = close / book.prev_close - 1.0
        off = gained - book.return_mean
        extra = volume - book.volume_mean
        if book.seen >= LEAST:
            z = limits.novelty_return_z
            v = limits.novelty_volume_z
            strange = off * off > z * z * book.return_var and off != 0.0
            if strange or (extra > 0.0 and extra * extra > v * v * book.volume_var):
                book.novel_until = now + limits.novelty_pause_ns
        book.return_mean += MEMORY * off
        book.return_var = (1.0 - MEMORY) * (book.return_var + MEMORY * off * off)
        book.volume_mean += MEMORY * extra
        book.volume_var = (1.0 - MEMORY) * (book.volume_var + MEMORY * extra * extra)
        book.seen += 1
    elif np.isfinite(volume):
        book.volume_mean = volume
    book.prev_close = close
