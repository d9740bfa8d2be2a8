"""The sections of a configuration. A key that is left out stays None where another table gives its default.

Every field says what it means and shows an example; `tidegate init`, `tidegate limits` and error messages print them.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from bot.config_types import (
    BarLength,
    Duration,
    Fault,
    Fraction,
    Instant,
    Money,
    MoneyOrShare,
    Names,
    Ratio,
    Resume,
    Share,
    Span,
    read_decimal,
)
from data.times import format_duration

Bps = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
MakerBps = Annotated[float, Field(ge=-10, le=1_000, allow_inf_nan=False)]
CollarBps = Annotated[float, Field(gt=0, le=5_000, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Orders = Annotated[int, Field(ge=1, le=100_000)]  # the time of each is kept
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)]


def key(meaning: str, example: Any, default: Any = None) -> Any:
    """A field with its meaning and an example as it would stand in the file."""
    return Field(default=default, description=meaning, examples=[example])


class Section(BaseModel):
    """A table of the file: unknown keys are errors, nothing is changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, arbitrary_types_allowed=True)


class Run(Section):
    """What is run: symbols, span, strategy, wallet."""

    symbols: Names = key("what is traded; all against one quote currency", ["BTC/USDT", "ETH/USDT"], ())
    strategy: str = key("a shipped name, file.py, file.py:Class or module:Class", "mood-flow", "mood-momentum")
    bar: BarLength = key("the bar that decisions are made on", "1h", "1h")
    inside: BarLength | None = key("finer stored bars that resolve the inside of a bar", "1m")
    since: Instant | None = key("first moment of the run, UTC; left out: the first stored bar", "2024-01-01")
    until: Instant | None = key("the run ends before this moment; left out: after the last stored bar", "2024-07-01")
    cash: Money = key("the allocation the run starts with, in the quote currency", "10000", "10000")
    market: Literal["spot", "perp"] = key(
        "spot (long or flat) or perp (linear, isolated, long and short)", "spot", "spot"
    )
    leverage: Annotated[float, Field(ge=1, le=125, allow_inf_nan=False)] = key(
        "perp only: notional for each unit of margin", 2, 1.0
    )
    decide_on: Literal["bar", "facts"] | None = key("overrides the strategy: at closes, or as facts arrive", "bar")
    every: Span | None = key("with decide_on facts: at most one decision in this time", "60s")
    decision_delay: Duration = key("facts known so long after a close still count for its decision", "0s", "0s")
    risk_bar: BarLength | None = key("closes at which losses are judged; left out: the bar", "1h")
    resume_after: Resume = key("when a halted run goes on: never, next day, or a duration", "12h", "never")
    allow_revised: Names = key("metrics that may be used although their history was revised", ["exchange_netflow"], ())
    model: str = key("whose scores are used: a registry name or id@revision", "tidegate-mini", "tidegate-mini")
    model_labels: str | None = key("classes of your own model's outputs, in order", "bearish,neutral,bullish")
    model_cutoff: str | None = key("last day of your own model's training texts", "2023-06-30")
    source: str | None = key("the bars' source, when several are stored", "binance")
    size: Literal["equity", "notional", "quantity"] = key(
        "what a weight of 1 means: all equity, a fixed notional, a fixed quantity", "equity", "equity"
    )
    stake: Money | None = key("the notional or quantity of a weight of 1", "1000")

    # Checked field by field against those read before it, so that one fault doesn't hide another.

    @field_validator("leverage")
    @classmethod
    def _only_perp(cls, leverage: float, info: ValidationInfo) -> float:
        if leverage != 1 and info.data.get("market") == "spot":
            raise Fault("spot has no leverage", 'Remove leverage, or set market = "perp"')
        return leverage

    @field_validator("until")
    @classmethod
    def _after_since(cls, until: int | None, info: ValidationInfo) -> int | None:
        since = info.data.get("since")
        if until is not None and since is not None and since >= until:
            raise Fault("the span is empty: since is not before until", "Set until later than since")
        return until

    @field_validator("inside")
    @classmethod
    def _divides_bar(cls, inside: int | None, info: ValidationInfo) -> int | None:
        bar = info.data.get("bar")
        if inside is not None and bar is not None and (inside >= bar or bar % inside):
            raise Fault(f"has to divide the bar ({format_duration(bar)})", 'For example: inside = "1m"')
        return inside

    @field_validator("risk_bar")
    @classmethod
    def _multiple_of_bar(cls, risk_bar: int | None, info: ValidationInfo) -> int | None:
        bar = info.data.get("bar")
        if risk_bar is not None and bar is not None and (risk_bar < bar or risk_bar % bar):
            text = format_duration(bar)
            raise Fault(f"has to be a whole number of bars ({text})", f'For example: risk_bar = "{text}"')
        return risk_bar

    @field_validator("stake")
    @classmethod
    def _fits_size(cls, stake: Decimal | None, info: ValidationInfo) -> Decimal | None:
        size = info.data.get("size", "equity")
        if size != "equity" and stake is None:
            raise Fault(f"size = {size!r} needs a stake", 'For example: stake = "1000"')
        if "size" in info.data and size == "equity" and stake is not None:
            raise Fault('means nothing with size = "equity"', "Remove it, or set size to notional or quantity")
        return stake


class Fill(Section):
    """How the simulated venue fills. Keys replace single values of the profile."""

    profile: Literal["default", "harsh", "ideal"] = key("a named set of the values below", "default", "default")
    maker_bps: MakerBps | None = key("fee of a resting order, basis points of notional", 10)
    taker_bps: Bps | None = key("fee of an order that takes, basis points of notional", 10)
    fee_asset: Literal["received", "quote"] | None = key(
        "fees are taken in the asset received, or in quote", "received"
    )
    spread_bps: Bps | None = key("half the spread, paid by market orders", 2)
    impact_bps: Bps | None = key("cost of size: this times the square root of the share of the bar's volume", 10)
    participation: Share | None = key("share of a bar's volume that one bar may fill", "10%")
    latency_ms: Annotated[float, Field(ge=0, le=3_600_000, allow_inf_nan=False)] | None = key(
        "from decision to venue, milliseconds", 250
    )
    open_grace: Duration | None = key("an order this late after a bar's open still gets that open", "60s")
    touch: bool | None = key("a limit fills when the price touches it, not only when it trades through", False)
    liquidation_fee_bps: Bps | None = key("fee of a liquidation, basis points of notional", 100)
    funding: str = key('perp: stored facts, or an assumed rate for each 8 hours ("0.01%")', "stored", "stored")

    @field_validator("funding")
    @classmethod
    def _rate(cls, text: str) -> str:
        if text != "stored" and (not text.endswith("%") or read_decimal(text[:-1]) is None):
            raise Fault("neither stored nor a rate", 'Write "stored", or a rate for each eight hours such as "0.01%"')
        return text


class Execution(Section):
    """How a wish becomes orders."""

    entry: Literal["market", "post-only"] = key("how positions are entered; exits go at market", "post-only", "market")
    offset_bps: Bps = key("post-only: how far on our side of the last price", 2, 0.0)
    wait: Span = key("post-only: how long an order rests before it is chased", "5m", "5m")
    chases: Annotated[int, Field(ge=0, le=100)] = key("post-only: how often it is placed anew", 3, 3)
    then: Literal["market", "cancel"] = key("post-only: what follows the last chase", "market", "cancel")
    band: Fraction = key("no order while the weight is off its target by less than this share of equity", "2%", "2%")
    min_weight: Fraction = key("target weights nearer to 0 than this count as 0", "1%", "0%")


class Market(Section):
    """The venue's grid for one symbol."""

    tick: Positive | None = key("price step; left out: assumed from the price", 0.01)
    lot: Positive | None = key("quantity step; left out: assumed from the price", 0.00001)
    min_notional: Money | None = key("smallest order", "5")
    max_quantity: Positive | None = key("largest order, base units", 1000)
    maintenance: Share | None = key("perp: maintenance margin", "0.5%")


class Limits(Section):
    """The hard limits. Money is an amount, or a share of the allocation."""

    order_notional: MoneyOrShare | None = key("largest order (control 4)", "25%")
    orders_per_minute: Orders | None = key("orders in any minute (5)", 20)
    orders_per_hour: Orders | None = key("orders in any hour (5)", 200)
    exit_reserve: Fraction | None = key("share of the order rate kept for exits (5)", "50%")
    rate_breaches: Count | None = key("refusals for rate before no new risk is taken (5)", 3)
    repeat_orders: Orders | None = key("entries of one symbol and side within repeat_window (6)", 10)
    repeat_window: Span | None = key("window of repeat_orders (6)", "1m")
    position_notional: MoneyOrShare | None = key("largest position of one symbol (8)", "100%")
    gross_notional: MoneyOrShare | None = key("long and short positions added up (8)", "150%")
    net_notional: MoneyOrShare | None = key("long less short positions (8)", "150%")
    gross_leverage: Ratio | None = key("gross notional over equity (8)", 1.5)
    asset_share: Ratio | None = key("position of one asset over equity (9)", "50%")
    tag_share: dict[str, Ratio] = Field(
        default_factory=dict,
        description="positions of one tag over equity (9); tags stand in [tags]",
        examples=[{"memecoin": "10%"}],
    )
    daily_loss: Share | None = key("loss since midnight UTC: only reduce (11)", "5%")
    daily_loss_flatten: Share | None = key("loss since midnight UTC: sell everything (11)", "8%")
    drawdown: Share | None = key("fall from the highest value: sell everything, then halt (12)", "20%")
    loss_streak: Count | None = key("losing closes in a row before a pause (13)", 6)
    loss_streak_pause: Span | None = key("the pause after a loss streak (13)", "12h")
    price_collar_bps: Annotated[float, Field(gt=0, le=5_000)] | None = key(
        "an order's price around the last close (3)", 300
    )
    bar_age: Span | None = key("bars older than this: no new risk; left out: two bars (15)", "2h")
    signal_age: Span | None = key("facts older than this freeze a signal, unless it says so itself (20)", "2d")
    novelty_return_z: Positive | None = key("a bar's return beyond so many deviations: no new orders (23)", 8)
    novelty_volume_z: Positive | None = key("a bar's volume beyond so many deviations: no new orders (23)", 12)
    novelty_pause: Span | None = key("how long novelty pauses a symbol (23)", "6h")
    flood_posts: Count | None = key("posts about a coin in an hour from which on they may be a flood (21)", 30)
    flood_z: Positive | None = key("posts an hour beyond so many deviations are a burst (21)", 8)
    flood_share: Share | None = key("share of them that repeat, disguise or share an origin: a flood (21)", "60%")
    flood_pause: Span | None = key("how long a flood freezes a coin's sentiment and new risk in it (21)", "12h")
    mood_jump: Positive | None = key("change of mood within an hour or two that needs two sources (22)", 0.3)
    turnover_per_day: MoneyOrShare | None = key("traded notional of a day (24)", "400%")
    fees_per_day: MoneyOrShare | None = key("fees of a day (24)", "1%")
    strategy_errors: Count | None = key("failed decisions in a row before no new risk is taken", 5)

    @model_validator(mode="after")
    def _order(self) -> "Limits":
        if self.daily_loss and self.daily_loss_flatten and self.daily_loss_flatten < self.daily_loss:
            raise Fault(
                "daily_loss_flatten is nearer than daily_loss", "The second level has to lie at or beyond the first"
            )
        return self


class Sources(Section):
    """How much a post counts by where it was written."""

    weights: dict[str, Weight] = Field(
        default_factory=dict,
        description="by source; 1 where nothing is said, 0 leaves a source out",
        examples=[{"reddit": 0.5}],
    )


class Aliases(Section):
    """Names that posts use for coins."""

    file: str | None = key("a TOML file of further names, see the README", "aliases.toml")
