"""Where each row of the fault matrix is proven, and the whole bot as it is started by a person.

Rows with the real bot (`bot.session.real.run_live`, the exchange process with unmodified ccxt, a journal on disk),
judged by the local venue: here, `test_rows_orders`, `test_rows_account`, `test_rows_machine`; the perpetual venue's in
`test_perp_session`. Rows whose mechanism is proven closer to it:

| row | test |
| --- | --- |
| 1-3, 5, 6, 12, 13, 15-17, 20, 21, 51, 52 | `test_rows_orders`; ccxt's errors: `tests/bot/test_exchange_outcomes` |
| 4 | no number twice: every verdict of `judge`; `tests/bot/test_exchange_caps::test_once` |
| 7, 8, 9, 10, 11, 53 | `test_rows_account`; any order of messages: `tests/bot/test_venue_ids` |
| 14 | `tests/bot/test_venue_faults`, `tests/bot/test_exchange_outcomes::test_nonsense_never_leaves` |
| 18 | `test_rows_account`; signed anew: `test_exchange_outcomes::test_refused_time_stamp_is_signed_anew_once` |
| 19 | `test_rows_machine`; caps: `test_exchange_caps::test_a_clock_set_back_frees_nothing` |
| 22-25, 26 | `test_rows_account`; any point: `test_schedules` |
| 27, 28, 29, 30, 31 | `test_rows_account` |
| 32 | dust is left by every sale here; `tests/bot/test_venue_account::test_dust_is_nothing` |
| 33, 34, 35, 36 | `test_rows_machine`; each kind: `tests/bot/test_feeds_bars` |
| 37, 38 | `test_rows_machine`; `tests/bot/test_journal` |
| 39, 40 | `tests/bot/test_journal_cuts`, the whole by `benchmarks.journal_cuts` |
| 41, 42, 43, 44 | `test_rows_account` |
| 45 | no file of any scene holds the secret (`scenes.Play`); `tests/bot/test_exchange_redaction` |
| 46, 47 | `test_rows_machine` |
| 48 | `tests/bot/test_feeds_scoring` (a model that hangs or gives NaN); the signal is missing: `tests/contracts` |
| 49 | `tests/bot/test_feeds_door`, the whole by `benchmarks.door` |
| 50 | not here: the simulated worlds |
| 54 | `tests/bot/test_venue_faults::test_dead_man_timer_is_wound_and_its_firing_noticed` |

Not tested: a name that can't be resolved in the middle of a session (a refused connection stands for it), a power cut
(the journal is cut at every frame instead), and a real clock that jumps under a running bot.
"""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

import pytest

from tests.faults import judge
from tests.faults.bot_world import BALANCES, LIMITS, PRICES, LiveBot, Tape
from tests.venue.remote import RemoteVenue


def test_a_session_as_a_person_starts_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`python -m bot live`, the venue in a process of its own: it buys, is stopped by SIGTERM, and leaves its stop."""
    folder: Path = tmp_path_factory.mktemp("p")
    with RemoteVenue(balances=BALANCES, prices=PRICES) as venue:
        rest = str(venue.addresses["rest"])
        with LiveBot(folder, {"rest": rest, "stream": rest.replace("http", "ws")}) as life:
            tape = Tape(venue)
            life.start()
            limit, up = time.monotonic() + 90.0, 1.0005
            while not (held := _held(venue)) and time.monotonic() < limit:
                tape.step(BTCUSDT=up, ETHUSDT=0.9995)
            assert held, life.said()[-3000:]
            tape.step(BTCUSDT=up, ETHUSDT=0.9995)
            life.until(lambda told: told["orders"] and all(one["state"] == "ACKED" for one in told["orders"]))
            assert life.stop() == 0
            wrong = judge.faults(venue.truth(), judge.read(life.account), foreign={"BTC": "2"}, limits=LIMITS)
            assert not wrong, wrong


def _held(venue: RemoteVenue) -> bool:
    balance = venue.truth()["balances"]["BTC"]
    return Decimal(balance["locked"]) > 0
