"""What `tidegate init` writes: a configuration with every key explained, and a strategy to change."""

from pydantic.fields import FieldInfo

from bot.config_faults import toml_text
from bot.config_sections import Aliases, Execution, Fill, Limits, Market, Run, Section

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
    parts = [HEADER, _section("run", Run), PARAMS]
    parts += [_section(name, model) for name, model in (("aliases", Aliases), ("fill", Fill), ("execution", Execution))]
    parts += [_section("limits", Limits), _section('market."BTC/USDT"', Market, commented=True)]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _section(name: str, model: type[Section], commented: bool = False) -> str:
    lines = [f"{'# ' if commented else ''}[{name}]  # {(model.__doc__ or '').split('.')[0]}"]
    lines += [_line(key, field) for key, field in model.model_fields.items()]
    return "\n".join(lines)


def _line(key: str, field: FieldInfo) -> str:
    if key in STARTS_WITH:
        text = f"{key} = {toml_text(STARTS_WITH[key])}"
    elif field.default in (None, ()) or field.default_factory is not None:
        text = f"# {key} = {toml_text((field.examples or [''])[0])}"
    else:
        text = f"{key} = {toml_text(field.default)}"
    return f"{text:<{WIDTH}}  # {field.description}"
