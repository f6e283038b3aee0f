"""A policy and the portfolio that it is applied to, as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

import numpy as np

from kernel.canonical import Vector
from kernel.errors import ProblemError
from kernel.measures import RiskMeasure

# Limits of a policy that may be loosened, with their units; exclusion by quality comes first and never is.
LOOSENABLE: Mapping[str, str] = {
    "max_single_position": "weight",
    "max_sector": "weight",
    "max_tracking_error": "volatility",
    "max_turnover": "turnover",
}


class OnConflict(StrEnum):
    """What happens when the limits of a policy contradict each other."""

    FAIL = "fail"
    """explain"""
    RELAX = "relax"
    """loosen named limits in a stated order"""
    STAGE = "stage"
    """go as far as the turnover limit allows"""


@dataclass(frozen=True, slots=True)
class PolicyLimits:
    """The limits of a policy, or of a request beside it; None = not set.

    Attributes:
        min_quality_score: Instruments with a lower score are excluded.
        max_single_position: Largest weight of an instrument, fraction of value.
        max_sector: Largest weight of a sector, fraction of value.
        max_tracking_error: Annual, fraction.
        max_turnover: One-way, cash included, fraction of value.
    """

    min_quality_score: Decimal | None = None
    max_single_position: Decimal | None = None
    max_sector: Decimal | None = None
    max_tracking_error: Decimal | None = None
    max_turnover: Decimal | None = None


@dataclass(frozen=True, slots=True)
class PolicyCase:
    """What a policy is applied to.

    Attributes:
        names: (n,) instruments and, last, cash.
        w0: (n,) present weights, adding up to 1.
        scores: Quality score by instrument; None or absent = nobody has stated one.
        sectors: By instrument; empty or absent = not known.
        limits: Of the policy.
        own: Of the request, which are never loosened; a quality score among them plays no part.
        tracking: The tracking error as a measure of weights (n,), where a limit needs it.
        min_cash: Least weight of cash, >= 0.
        do_not_buy: Instruments whose weight may not rise.
        do_not_sell: Instruments whose weight may not fall.
        on_conflict: What happens when the limits contradict each other.
        relax_order: For RELAX: names of `LOOSENABLE`, first the one to loosen first.
    """

    names: tuple[str, ...]
    w0: Vector
    scores: Mapping[str, Decimal | None]
    sectors: Mapping[str, str]
    limits: PolicyLimits
    own: PolicyLimits = field(default_factory=PolicyLimits)
    tracking: RiskMeasure | None = None
    min_cash: float = 0.0
    do_not_buy: frozenset[str] = frozenset()
    do_not_sell: frozenset[str] = frozenset()
    on_conflict: OnConflict = OnConflict.FAIL
    relax_order: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.relax_order) - LOOSENABLE.keys()):
            raise ProblemError("relax_order", f"names {', '.join(unknown)}; may be loosened: {', '.join(LOOSENABLE)}")
        if self.tracking is None and any(part.max_tracking_error is not None for part in (self.limits, self.own)):
            raise ProblemError("policy.max_tracking_error", "needs a benchmark")

    @property
    def instruments(self) -> tuple[str, ...]:
        """The names without cash."""
        return self.names[:-1]

    @property
    def excluded(self) -> frozenset[str]:
        """What is held and has a score below the least one; an unknown score is not below it."""
        least = self.limits.min_quality_score
        if least is None:
            return frozenset()
        held = (name for name, weight in zip(self.names, self.w0.tolist(), strict=True) if weight > 0.0)
        return frozenset(name for name in held if (score := self.scores.get(name)) is not None and score < least)

    @property
    def unscored(self) -> tuple[str, ...]:
        """Instruments whose quality nobody has stated, where the policy asks for one."""
        if self.limits.min_quality_score is None:
            return ()
        return tuple(name for name in self.instruments if self.scores.get(name) is None)

    def members(self, chosen: Iterable[str]) -> Vector:
        """(n,) 1 at the names chosen, 0 elsewhere."""
        wanted = frozenset(chosen)
        return np.array([float(name in wanted) for name in self.names])

    def sector(self, name: str) -> Vector:
        """(n,) 1 at the members of a sector, 0 elsewhere."""
        return self.members(instrument for instrument in self.instruments if self.sectors.get(instrument) == name)

    @property
    def max_cash(self) -> float:
        """Largest weight of cash: what there is, or has to be. A policy does not turn investments into cash."""
        return max(float(self.w0[-1]), self.min_cash)

    def reference(self, excluded: Iterable[str]) -> Vector:
        """(n,) nothing of what is excluded, the rest in proportion to its present weights, cash as it is."""
        kept = self.w0 * (1.0 - self.members(excluded))
        kept[-1] = 0.0
        invested = float(kept.sum())
        weights = kept * ((1.0 - self.max_cash) / invested) if invested > 0.0 else kept
        weights[-1] = 1.0 - float(weights[:-1].sum())
        return weights
