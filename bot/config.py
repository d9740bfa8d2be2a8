"""One TOML file says what is run. Unknown keys are errors, and all faults are reported at once.

Every section is read on its own, so that a fault in one doesn't hide those in the others; what has to fit together
across sections is checked last. Secrets never stand in it, and there is no mode key: the verb is the mode.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import Field, TypeAdapter, ValidationError

from bot.config_faults import Places, find_faults, nearest
from bot.config_feeds import FeedTable, Record, read_feeds
from bot.config_live import Exchange, Live, Metrics, Notify
from bot.config_sections import Aliases, Execution, Fill, Limits, Market, Run, Section, Sources
from bot.config_types import read_names, write_share
from data.errors import InputError, raise_all

DEFAULT_FILE = "tidegate.toml"
SAMPLE = "the embedded sample"
SYNTHETIC = "synthetic"


class Config(Section):
    """All sections. `where`, `overridden` and `folder` say where it was given; they are no part of its hash."""

    run: Run = Run()
    params: dict[str, float] = Field(default_factory=dict, description="the strategy's parameters")
    tags: dict[str, str] = Field(default_factory=dict, description="a tag for each coin, for limits.tag_share")
    sources: Sources = Sources()
    aliases: Aliases = Aliases()
    fill: Fill = Fill()
    execution: Execution = Execution()
    market: dict[str, Market] = Field(default_factory=dict, description="the venue's grid by symbol")
    limits: Limits = Limits()
    exchange: Exchange = Exchange()
    live: Live = Live()
    notify: Notify = Notify()
    metrics: Metrics = Metrics()
    record: Record = Record()
    feeds: dict[str, FeedTable] = Field(default_factory=dict, description="the feeds that are recorded, by name")
    where: str = Field(default=SAMPLE, exclude=True)
    overridden: frozenset[str] = Field(default=frozenset(), exclude=True)
    folder: Path = Field(default=Path(), exclude=True)

    def plain(self) -> dict[str, Any]:
        """All sections as JSON values, money and durations as the text they are written in."""
        dumped: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return dumped

    def hash(self) -> str:
        """SHA-256 over every value, however the file was laid out."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()

    def path(self, text: str) -> Path:
        """A file named in the configuration; a relative path starts at the configuration's folder."""
        return self.folder / Path(text).expanduser()

    def strategy_text(self) -> str:
        """The strategy as `load_strategy` takes it, with a relative file resolved."""
        table = self.run.strategy.removeprefix("weights:")
        if Path(table).suffix.lower() in (".csv", ".parquet"):
            return f"weights:{self.path(table)}"
        file, colon, name = self.run.strategy.rpartition(":")
        if not file.endswith(".py"):
            file, colon, name = self.run.strategy, "", ""
        return f"{self.path(file)}{colon}{name}" if file.endswith(".py") else self.run.strategy

    def place_of(self, dotted: str) -> str:
        """Where a key was given, for messages: the file, or `--set`."""
        return Places(self.where, self.overridden).of(dotted)

    @property
    def on_sample(self) -> bool:
        """True when the run reads the embedded sample: its bars come from a synthetic source."""
        return (self.run.source or "").startswith(SYNTHETIC)

    @property
    def quote(self) -> str:
        """The one quote currency of all symbols."""
        return quote_of(self.run.symbols[0])


MODELS: Mapping[str, type[Section]] = {
    "run": Run, "sources": Sources, "aliases": Aliases, "fill": Fill, "execution": Execution, "market": Market,
    "limits": Limits, "exchange": Exchange, "live": Live, "notify": Notify, "metrics": Metrics,
    "record": Record,
}  # fmt: skip
SECTIONS = {name: field for name, field in Config.model_fields.items() if not field.exclude}


def quote_of(symbol: str) -> str:
    """`USDT` of `BTC/USDT` and of `BTC/USDT:USDT`; empty when the symbol has none."""
    return symbol.partition("/")[2].partition(":")[0]


def base_of(symbol: str) -> str:
    """`BTC` of `BTC/USDT`."""
    return symbol.partition("/")[0]


def find_config(given: Path | None) -> Path | None:
    """The file to read: the one given, else `tidegate.toml` here, else None for the embedded sample."""
    if given is not None:
        return given
    here = Path(DEFAULT_FILE)
    return here if here.exists() else None


def load_config(file: Path | None, settings: Sequence[str] = (), *, base: Mapping[str, Any] | None = None) -> Config:
    """Read, override and check a configuration.

    Parameters
    ----------
    file : Path or None
        The TOML file; None starts from `base`.
    settings : sequence of str
        `name=value` for a strategy parameter, `section.key=value` for any other key, as given by `--set`.
    base : mapping, optional
        Raw tables to start from when there is no file.

    Raises
    ------
    InputError or InputErrors
        The file can't be read, or holds faults: all of them at once.
    """
    raw = read_toml(file) if file is not None else _copy(base or {})
    where = str(file) if file is not None else SAMPLE
    overrides = [split_setting(setting) for setting in settings]
    for path, text in overrides:
        _put(raw, path, text)
    places = Places(where, [".".join(path) for path, _ in overrides])
    folder = file.parent if file is not None else Path()
    return check(raw, places=places, folder=folder)


def read_toml(file: Path) -> dict[str, Any]:
    """The raw tables of a file.

    Raises
    ------
    InputError
        When it is missing, unreadable, not UTF-8 or not TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = "Name an existing file, or write one with: tidegate init"
        raise InputError("no such file", where=file, remedy=remedy) from None
    except UnicodeDecodeError:
        raise InputError("not a UTF-8 text file", where=file, remedy="Save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror})", where=file) from None
    except tomllib.TOMLDecodeError as error:
        remedy = "Write key = value, texts in double quotes; tables in [brackets]"
        raise InputError(f"not valid TOML: {error}", where=file, remedy=remedy) from None


_KEY = r"""(?:"[^"]*"|'[^']*'|[^."']+)"""  # of TOML: market."BTC/USDT".lot; here the quotes may be left out
_PATH = re.compile(rf"{_KEY}(?:\.{_KEY})*")


def split_setting(setting: str) -> tuple[tuple[str, ...], str]:
    """Path and text of one `--set name=value`."""
    name, equals, text = setting.partition("=")
    path = tuple(part.strip().strip("\"'") for part in re.findall(_KEY, name))
    if not equals or not all(path) or not _PATH.fullmatch(name):
        remedy = "Write --set entry=0.4 for a parameter, --set run.bar=4h for any other key"
        raise InputError("not name=value", where="--set", value=setting, remedy=remedy)
    return (("params", *path) if len(path) == 1 else path), text.strip()


def check(raw: Mapping[str, Any], *, places: Places, folder: Path) -> Config:
    """Sections from raw tables, and all faults at once."""
    faults = [
        InputError(
            "unknown section", where=places.of_section(name), key=name, remedy=nearest(name, SECTIONS, noun="Sections")
        )
        for name in raw
        if name not in SECTIONS
    ]
    parts: dict[str, Any] = {}
    for name, field in SECTIONS.items():
        if name not in raw:
            continue
        if name == "feeds":
            parts[name], wrong = read_feeds(raw[name], places)
            faults += wrong
            continue
        try:
            parts[name] = TypeAdapter[Any](cast(Any, field.annotation)).validate_python(raw[name])
        except ValidationError as error:
            faults += find_faults(error, section=name, model=MODELS.get(name), places=places)
    symbols, market = _named(raw.get("run"), parts.get("run"))
    faults += check_symbols(symbols, market, places)
    faults += _check_markets(parts.get("market", {}), symbols, parts.get("run"), places)
    if not symbols and "run" not in {fault.key.partition(".")[0] for fault in faults if fault.key}:
        remedy = 'For example: symbols = ["BTC/USDT"]'
        faults.append(InputError("no symbol is named", where=places.file, key="run.symbols", remedy=remedy))
    if "limits" in parts:
        faults += _check_tags(parts["limits"].tag_share, parts.get("tags"), raw, places)
    raise_all(faults)
    return Config(**parts, where=places.file, overridden=places.overrides, folder=folder)


def _named(raw: Any, run: Run | None) -> tuple[tuple[str, ...], str]:
    """Symbols and market, also of a section whose other keys are broken; None are named where they are themselves."""
    if run is not None:
        return run.symbols, run.market
    table = raw if isinstance(raw, Mapping) else {}
    symbols = read_names(table.get("symbols"))
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        return (), ""
    return tuple(symbols), table.get("market", "spot")


def _check_tags(
    shares: Iterable[str], tags: Mapping[str, str] | None, raw: Mapping[str, Any], places: Places
) -> list[InputError]:
    if tags is None and "tags" in raw:
        return []
    faults = []
    for tag in shares:
        if tag not in set((tags or {}).values()):
            dotted = f"limits.tag_share.{tag}"
            remedy = f'Give coins this tag in [tags], for example BTC = "{tag}"'
            faults.append(InputError("no coin has this tag", where=places.of(dotted), key=dotted, remedy=remedy))
    return faults


def check_symbols(symbols: Sequence[str], market: str, places: Places) -> list[InputError]:
    """Faults of the symbols: their form, one quote currency, none twice."""
    faults: list[InputError] = []

    def fault(what: str, remedy: str, value: object) -> None:
        where = places.of("run.symbols")
        faults.append(InputError(what, where=where, key="run.symbols", value=value, remedy=remedy))

    for symbol in symbols:
        settle = symbol.partition(":")[2]
        if not base_of(symbol) or not quote_of(symbol) or symbol != symbol.upper():
            fault(
                "not a symbol",
                'Write base and quote in capitals: "BTC/USDT", or "BTC/USDT:USDT" for a perpetual',
                symbol,
            )
        elif market == "spot" and settle:
            fault(
                "a perpetual in a spot run", f'Write "{symbol.partition(":")[0]}", or set run.market = "perp"', symbol
            )
        elif settle and settle != quote_of(symbol):
            fault("only linear perpetuals are traded", "Use one that settles in its quote currency", symbol)
    if len(set(symbols)) < len(symbols):
        fault("a symbol stands twice", "Name each symbol once", list(symbols))
    quotes = {quote_of(symbol) for symbol in symbols} - {""}
    if len(quotes) > 1:
        fault(
            f"several quote currencies ({', '.join(sorted(quotes))}): a run trades one wallet",
            "Keep the symbols of one quote currency, and run the others apart",
            list(symbols),
        )
    return faults


def _check_markets(
    markets: Mapping[str, Market], symbols: Iterable[str], run: Run | None, places: Places
) -> list[InputError]:
    known = list(symbols)
    faults = [
        InputError(
            "not one of run.symbols",
            where=places.of(f"market.{name}"),
            key=f"market.{name}",
            remedy=nearest(name, known, noun="Symbols"),
        )
        for name in markets
        if name not in known
    ]
    if run is None or run.market != "perp":
        return faults
    for name, market in markets.items():
        if market.maintenance is not None and market.maintenance * run.leverage >= 1:
            dotted = f"market.{name}.maintenance"
            what = f"with leverage {run.leverage:g} a position would be liquidated as it opens"
            remedy = f"Write a smaller one, or a run.leverage below {1 / market.maintenance:g}"
            value = write_share(market.maintenance)
            faults.append(InputError(what, where=places.of(dotted), key=dotted, value=value, remedy=remedy))
    return faults


def _copy(base: Mapping[str, Any]) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in base.items()}


def _put(raw: dict[str, Any], path: tuple[str, ...], text: str) -> None:
    table = raw
    for part in path[:-1]:
        below = table.get(part)
        below = dict(below) if isinstance(below, Mapping) else {}
        table[part] = below
        table = below
    table[path[-1]] = text
