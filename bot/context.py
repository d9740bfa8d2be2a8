"""What most verbs start from: the configuration in force, and the store its facts lie in.

The embedded sample has a store of its own under `var/sample`, so that invented posts never mix with real ones. It is
used when there is no configuration, and when `run.source` names a synthetic source.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.config import SYNTHETIC, Config, find_config, load_config
from bot.terminal import note
from data.errors import InputError

if TYPE_CHECKING:
    from data.store import Store


def sample_settings() -> dict[str, Any]:
    """Raw tables of a run on the embedded sample."""
    from data.sample import SYMBOLS

    run = {"symbols": list(SYMBOLS), "strategy": "mood-momentum", "bar": "1h", "source": SYNTHETIC}
    return {"run": {**run, "allow_revised": ["exchange_netflow", "stablecoin_supply"]}}


def current_config(
    given: Path | None, settings: list[str] | None, *, sample: bool = False, var: Path | None = None
) -> Config:
    """The configuration given, or `tidegate.toml` here, or the embedded sample's; with `--set` applied.

    Where facts of one's own lie in `var` and nobody asked for the sample, it is said that they aren't used, and why.

    Raises
    ------
    InputError or InputErrors
        Both a file and the sample were asked for, or the configuration has faults.
    """
    if sample and given is not None:
        remedy = "Leave one of them out"
        raise InputError("a configuration and --sample were both given", where=given, key="--sample", remedy=remedy)
    file = None if sample else find_config(given)
    config = load_config(file, settings or (), base=sample_settings() if file is None else None)
    if var is not None and file is None and config.on_sample and not sample and open_store(var).manifest("bars").parts:
        note(
            "on the embedded sample, since there is no tidegate.toml here and run.source isn't set: for your own facts "
            "write one with `tidegate init`, or say --set run.source=NAME"
        )
    return config


def store_of(config: Config, var: Path) -> "Store":
    """The store a configuration's facts lie in."""
    return sample_store(var) if config.on_sample else open_store(var)


def open_store(var: Path) -> "Store":
    """The store of brought-in facts."""
    from data.store import Store

    return Store(var)


def sample_store(var: Path) -> "Store":
    """The embedded sample's own store."""
    from data.store import Store

    return Store(var / "sample")


def facts_of(given: Path | None, *, sample: bool | None, var: Path) -> "tuple[Config | None, Store]":
    """The configuration, if there is one, and the store that verbs about facts work on.

    `sample` True or False chooses the store; None leaves it to the configuration, and to the own facts without one.
    """
    file = find_config(given)
    config = load_config(file) if file is not None else None
    if sample is None and config is not None and config.on_sample:
        note(
            f"on the embedded sample, since run.source is {config.run.source!r} in {config.where}; --own for your facts"
        )
        sample = True
    return config, sample_store(var) if sample else open_store(var)
