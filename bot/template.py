"""What `tidegate init` writes: a configuration with every key explained, and a strategy to change."""

from typing import TYPE_CHECKING, Any

from pydantic.fields import FieldInfo

from bot.config_faults import toml_text
from bot.config_feeds import Record
from bot.config_live import Exchange, Live, Metrics, Notify
from bot.config_resolve import FILL_FIELDS, RENAMED_LIMITS
from bot.config_sections import Aliases, Execution, Fill, Limits, Market, Run, Section, Sources
from bot.config_types import write_share
from bot.limit_table import NO_LIMIT, limit_text
from data.times import format_duration

if TYPE_CHECKING:
    from data.feed import Source

STRATEGY_FILE = "my_strategy.py"
STARTS_WITH = {
    "symbols": ["BTC/USDT", "ETH/USDT", "SOL/USDT", "ADA/USDT", "DOGE/USDT"],
    "strategy": STRATEGY_FILE,
    "source": "synthetic",
}
WIDTH = 44

HEADER = """\
# What Tidegate runs. Every key is shown; one behind a "#" has its default: what follows is that, or an example.
# Money is quoted text ("10000"), durations carry a unit ("90s", "6h"), shares are "15%" or 0.15, times are UTC.
# Check it with: tidegate limits      Run it with: tidegate backtest
"""

FEEDS = """
# What `tidegate record` records, a table for each feed; without any, it records the free ones. Each may also have the
# keys enabled, patience (a feed that is silent for longer counts as down) and use (the source of a feed that has a name
# of its own).
"""

PARAMS = """
[params]  # the strategy's parameters; the command line replaces one with --set entry=0.4
# entry = 0.3

[tags]  # a tag for a coin, for limits.tag_share
# DOGE = "memecoin"
"""

STRATEGY = '''\
"""Hold a coin while the crowd is cheerful and the price lies above its own average."""

from signals import EMA, Close, Mood
from strategies.base import Param, Strategy


class MyStrategy(Strategy):
    """Hold a coin while the crowd is cheerful and the price lies above its own average."""

    mood = Mood(half_life="12h")
    price = Close()
    average = EMA(72)
    entry = Param(0.15, low=0.0, high=1.0)
    exit = Param(0.05, low=0.0, high=1.0)
    weight = Param(0.2, low=0.0, high=1.0)
    stop_loss = Param(0.08, low=0.01, high=0.5)

    @staticmethod
    def weigh(s, p):
        """Target weight of equity for one symbol; `s.held` is the weight held now."""
        threshold = p.exit if s.held > 0 else p.entry
        return p.weight if s.mood > threshold and s.price > s.average else 0.0
'''


def config_text() -> str:
    """The commented configuration; it reads back as the defaults and `STARTS_WITH`."""
    parts = [
        HEADER,
        _section("run", Run, {}),
        PARAMS,
        _section("sources", Sources, {}),
        _section("aliases", Aliases, {}),
    ]
    parts += [_section("fill", Fill, fill_defaults()), _section("execution", Execution, {})]
    parts += [_section("limits", Limits, limit_defaults()), _section('market."BTC/USDT"', Market, {}, commented=True)]
    parts += [_section("exchange", Exchange, {}), _section("live", Live, {}), _section("notify", Notify, {})]
    parts += [_section("metrics", Metrics, {}), _section("record", Record, {}), FEEDS, *_feed_tables()]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _feed_tables() -> list[str]:
    """A commented table for each source that can be followed."""
    from data.sources import all_sources

    return [_feed_table(source) for source in all_sources().values() if source.card.live]


def _feed_table(source: "Source") -> str:
    card = source.card
    costs = f"; USD {card.cost} for each item" if card.cost else ""
    lines = [f"# [feeds.{card.name}]  # {card.title}{costs}. Terms: {card.terms.note}"]
    for key, field in source.options.model_fields.items():
        value = f"env:{card.name.upper()}_{key.upper()}" if key in card.keys else _shown(field)
        told = " ".join((field.description or "").split())
        if value in (None, "", (), [], {}):  # nothing that could stand here: no line of the file, only its meaning
            lines.append(f"{f'# {key}':<{WIDTH}}  # {told.replace(' = ', '=')}")
        else:
            lines.append(f"{f'# {key} = {toml_text(value)}':<{WIDTH}}  # {told}")
    return "\n".join(lines)


def _shown(field: FieldInfo) -> Any:
    """An example of a field, else its default, as it may stand in the file; None where there is neither."""
    if field.examples:
        return field.examples[0]
    value = None if field.is_required() else field.get_default(call_default_factory=True)
    return value if value is None or isinstance(value, (bool, int, float, list, tuple, dict)) else str(value)


def fill_defaults() -> dict[str, Any]:
    """The default fill profile in the words of the file."""
    from backtest.costs import fill_profile

    profile = fill_profile("default")
    defaults = {}
    for name, (field, factor) in FILL_FIELDS.items():
        value = getattr(profile, field)
        if name == "participation":
            value = write_share(value)
        elif field.endswith("_ns") and factor is None:
            value = format_duration(value)
        elif factor is not None:
            value = float(f"{value / factor:.9g}")
        defaults[name] = value
    return defaults


def limit_defaults() -> dict[str, Any]:
    """The backtest profile of limits in the words of the file; those without a limit are left out."""
    from risk.limits import Limits as Numbers

    numbers = Numbers()
    defaults: dict[str, Any] = {}
    for name in Limits.model_fields:
        value = getattr(numbers, RENAMED_LIMITS.get(name, name))
        text = limit_text(name, value)
        if text == NO_LIMIT:
            continue
        defaults[name] = value if isinstance(value, int) and not RENAMED_LIMITS.get(name) else text
        if name.endswith(("_bps", "_z")):
            defaults[name] = float(text)
    return defaults


def _section(name: str, model: type[Section], defaults: dict[str, Any], *, commented: bool = False) -> str:
    lines = [f"{'# ' if commented else ''}[{name}]  # {(model.__doc__ or '').split('.')[0]}"]
    lines += [_line(key, field, defaults.get(key)) for key, field in model.model_fields.items()]
    return "\n".join(lines)


def _line(key: str, field: FieldInfo, default: Any) -> str:
    if key in STARTS_WITH:
        text = f"{key} = {toml_text(STARTS_WITH[key])}"
    elif default is not None:
        text = f"# {key} = {toml_text(default)}"
    elif field.default in (None, ()) or field.default_factory is not None:
        text = f"# {key} = {toml_text((field.examples or [''])[0])}"
    else:
        text = f"{key} = {toml_text(field.default)}"
    return f"{text:<{WIDTH}}  # {field.description}"
