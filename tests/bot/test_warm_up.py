"""The helper of a first run: what it makes ready is what the run will look for."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backtest.helper import HELPER, Helper, begin_helper
from backtest.spec import RunSpec
from backtest.warm import alike
from bot.context import current_config
from bot.verbs_runs import open_facts, open_run
from data.errors import InputError
from signals import EMA, Mood
from signals.own import OwnSignal
from strategies.base import Strategy

HOUSE = Path(__file__).resolve().parents[2]
SHIPPED = ("buy-and-hold", "ema-cross", "fear-greed", "mood-momentum", "mood-flow", "mood-rank")

# In a process of its own, since kernels that another test has used are there already.
LOOK = """
import io, pickle, sys
from pathlib import Path
from numba.core.registry import CPUDispatcher

from backtest.load import load_inputs
from backtest.warm import alike, help_out
from bot.context import current_config
from bot.verbs_runs import OpenRun, execute, open_facts


def made():
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] in ("signals", "risk", "backtest")]
    found = {id(one): one for module in modules for one in vars(module).values() if isinstance(one, CPUDispatcher)}
    return {
        f"{one.py_func.__module__}.{one.py_func.__name__}{signature}"
        for one in found.values()
        for signature in one.signatures
        if one.py_func.__module__.startswith("signals.") or one.py_func.__name__ in ("watch", "strike_rows")
    }


for name in sys.argv[2:]:
    config = current_config(None, [f"run.strategy={name}"], sample=True)
    spec, store = open_facts(config, Path(sys.argv[1]))
    help_out(io.BytesIO(pickle.dumps(alike(spec))))
    ready = made()
    execute(OpenRun(config, spec, load_inputs(store, spec), 0.0))
    for late in sorted(made() - ready):
        print(name, late)
print("looked at", *sorted({name.partition("(")[0].rpartition(".")[2] for name in ready}))
"""


def test_a_run_looks_for_no_kernel_of_its_signals_that_the_helper_did_not_make(
    first_days: Callable[..., Path], tmp_path: Path
) -> None:
    """Every shipped strategy on real rows, after the helper's work on made-up ones: no other types of arguments."""
    facts = first_days(tmp_path / "facts")
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(facts), *SHIPPED], cwd=HOUSE, env=dict(os.environ), capture_output=True,
        text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *late, last = done.stdout.splitlines()
    assert late == []
    assert {"batch_posts", "judge_posts", "batch_metrics", "dense_rows", "watch", "strike_rows"} <= set(last.split())


class Nobodys(OwnSignal):
    """A signal in Python, of a file that another process can't import."""


def test_what_another_process_cannot_know_is_left_out() -> None:
    """Signals of a user's own file stay here; the others go over and arrive as they were."""

    class Mine(Strategy):
        """Of this function only: it can't be pickled."""

        mood = Mood("6h")
        fast = EMA(5)
        own = Nobodys()

        @staticmethod
        def weigh(s: object, p: object) -> float:
            """Nothing."""
            return 0.0

    spec = RunSpec(strategy=Mine(), symbols=("BTC/USDT",))
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(spec)
    there: RunSpec = pickle.loads(pickle.dumps(alike(spec)))
    assert {name: repr(one) for name, one in there.strategy.signals.items()} == {
        name: repr(one) for name, one in spec.strategy.signals.items() if name != "own"
    }


def test_the_helper_ends_well(first_days: Callable[..., Path], tmp_path: Path) -> None:
    """As it is begun; nobody reads what it says, so that nothing else would show that it fails."""
    config = current_config(None, ["run.strategy=mood-flow"], sample=True)
    spec, _ = open_facts(config, first_days(tmp_path / "facts"))
    for told in (pickle.dumps(alike(spec)), pickle.dumps(None), b""):  # the last: whoever began it has ended
        done = subprocess.run([sys.executable, "-c", HELPER], input=told, cwd=HOUSE, capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("cold", [True, False])
def test_facts_that_are_missing_are_told_of_before_anything_is_compiled(
    cold: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper that has begun by then ends with the verb, whatever it is at."""
    begun: list[Helper | None] = []

    @contextmanager
    def noted() -> Iterator[Helper | None]:
        with begin_helper() as helper:
            begun.append(helper)
            yield helper

    monkeypatch.setattr("backtest.helper.kernels_are_cold", lambda: cold)
    monkeypatch.setattr("backtest.helper.begin_helper", noted)
    monkeypatch.setattr("backtest.warm.warm_up", lambda *_: pytest.fail("compiles for a run that can't begin"))
    with pytest.raises(InputError, match="no bars of A/B"):
        open_run(None, ["run.source=mine", "run.symbols=A/B"], sample=False, var=tmp_path)
    (helper,) = begun
    assert (helper is not None) == cold
    assert helper is None or helper.returncode is not None
