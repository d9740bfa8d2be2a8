"""How entries go out and how much a target may drift before it is traded: the run's execution settings."""

from dataclasses import dataclass

from data.errors import InputError


@dataclass(frozen=True)
class Execution:
    """Execution of one run.

    entry "market" or "post-only"; offset of a post-only price from the last close as a fraction; wait_ns before it is
    chased; after so many chases `then` "market" or "cancel"; band and min_weight as shares of what a weight of 1 stands
    for.
    """

    entry: str = "market"
    offset: float = 0.0
    wait_ns: int = 300 * 10**9
    chases: int = 3
    then: str = "cancel"
    band: float = 0.02
    min_weight: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings that no venue knows."""
        if self.entry not in ("market", "post-only"):
            raise InputError("unknown entry", key="execution.entry", value=self.entry, remedy="'market' or 'post-only'")
        if self.then not in ("market", "cancel"):
            raise InputError(
                "unknown end of a chase", key="execution.then", value=self.then, remedy="'market' or 'cancel'"
            )
        for name in ("offset", "wait_ns", "chases", "band", "min_weight"):
            if not getattr(self, name) >= 0:
                raise InputError(
                    "out of range", key=f"execution.{name}", value=getattr(self, name), remedy="give 0 or more"
                )
