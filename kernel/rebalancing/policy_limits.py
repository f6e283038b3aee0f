"""The limits of a policy as named constraints on weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Cone, Vector
from kernel.constraints import Constraint, LinearLimit, Measurement, RiskLimit, TurnoverLimit, WeightBounds, budget
from kernel.measures.volatility import TrackingError
from kernel.objectives import MinimizeRisk
from kernel.problem import Moments, Problem
from kernel.rebalancing.policy_case import PolicyCase, PolicyLimits

QUALITY = "min_quality_score"
# What is below it, in weights, is rounding.
ROUNDING = 1e-9
# Limits of these names are beyond discussion: no diagnosis moves them.
_FIXED = "long_only"
_FIXED_SUM = "budget"

NamedNumbers = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class LimitNumbers:
    """All limits but exclusion, in numbers: of the policy under its names, of the request under ``constraints.``.

    Attributes:
        positions: Name, and (n,) largest weights; infinite for cash.
        sectors: Name, and largest weight by sector.
        tracking: Name and largest tracking error.
        turnover: Name and largest turnover.
        max_cash: Largest weight of cash.
    """

    positions: tuple[tuple[str, Vector], ...]
    sectors: tuple[tuple[str, Mapping[str, float]], ...]
    tracking: NamedNumbers
    turnover: NamedNumbers
    max_cash: float

    @classmethod
    def of(cls, case: PolicyCase, policy: PolicyLimits) -> LimitNumbers:
        """The limits of a case, with those of the policy as given."""
        known = sorted({sector for sector in case.sectors.values() if sector})
        instruments = len(case.instruments)
        return cls(
            positions=tuple(
                (name, np.append(np.full(instruments, cap), np.inf))
                for name, cap in _stated(case, policy, "max_single_position")
            ),
            sectors=tuple((name, dict.fromkeys(known, cap)) for name, cap in _stated(case, policy, "max_sector")),
            tracking=_stated(case, policy, "max_tracking_error"),
            turnover=_stated(case, policy, "max_turnover"),
            max_cash=case.max_cash,
        )

    def no_worse(self, case: PolicyCase) -> LimitNumbers:
        """Every limit that is broken now raised to what there is now, turnover apart."""
        now = {sector: float(case.sector(sector) @ case.w0) for _, caps in self.sectors for sector in caps}
        error = 0.0 if case.tracking is None else case.tracking.of(case.w0) + ROUNDING
        return replace(
            self,
            positions=tuple((name, np.maximum(caps, case.w0)) for name, caps in self.positions),
            sectors=tuple((name, {s: max(cap, now[s]) for s, cap in caps.items()}) for name, caps in self.sectors),
            tracking=tuple((name, max(limit, error)) for name, limit in self.tracking),
        )


def _stated(case: PolicyCase, policy: PolicyLimits, name: str) -> NamedNumbers:
    parts = (("", policy), ("constraints.", case.own))
    limits = [(f"{prefix}{name}", getattr(part, name)) for prefix, part in parts]
    return tuple((label, float(limit)) for label, limit in limits if limit is not None)


@dataclass(frozen=True, slots=True)
class _SectorLimits:
    """Limits on the weights of sectors that share a name: the one with the least room speaks for all.

    Attributes:
        rows: (k, n) 1 at the members of each sector.
        caps: (k,) largest weights.
    """

    name: str
    rows: Vector
    caps: Vector

    def add_to(self, builder: ProgramBuilder) -> None:
        """One row a sector."""
        names = (self.name,) * len(self.caps)
        builder.add_rows(names, Cone.NONNEGATIVE, [(builder.weights, self.rows)], self.caps)

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """The sector with the least room."""
        values = self.rows @ w
        least = int(np.argmin(self.caps - values))
        return [Measurement(self.name, "weight", "<=", float(self.caps[least]), float(values[least]))]


def policy_problem(case: PolicyCase, limits: LimitNumbers, excluded: frozenset[str], *, named: bool = False) -> Problem:
    """The limits as a problem; its objective plays no part.

    Args:
        case: The policy and the portfolio.
        limits: In numbers.
        excluded: What may not be held.
        named: Whether what is no number of the policy (exclusion, cash, what may not be traded) is a limit with a
            name; otherwise it is beyond discussion.

    Returns:
        A problem over the names of the case.
    """
    n = len(case.names)
    return Problem(
        moments=Moments(case.names, np.zeros(n), np.eye(n)),
        objective=MinimizeRisk(),
        measure=TrackingError(np.eye(n), case.w0, name="distance", unit="weight"),
        constraints=tuple(_constraints(case, limits, excluded, named=named)),
    )


def _constraints(
    case: PolicyCase, limits: LimitNumbers, excluded: frozenset[str], *, named: bool
) -> Iterator[Constraint]:
    n = len(case.names)
    everything = np.full(n, np.inf)
    open_top = everything if named else np.where(case.members(excluded) > 0.0, 0.0, np.inf)
    yield WeightBounds(np.zeros(n), open_top, (_FIXED,) * n, (_FIXED,) * n)
    yield budget(n)
    yield from _frozen(case, named=named)
    if named and excluded:
        yield LinearLimit(case.members(excluded), -np.inf, 0.0, QUALITY, QUALITY)
    for name, caps in limits.positions:
        yield WeightBounds(-everything, caps, (name,) * n, (name,) * n)
    for name, by_sector in limits.sectors:
        if by_sector:
            rows = np.vstack([case.sector(sector) for sector in by_sector])
            yield _SectorLimits(name, rows, np.array(list(by_sector.values())))
    for name, limit in limits.tracking:
        assert case.tracking is not None
        yield RiskLimit(name, case.tracking, limit)
    for name, limit in limits.turnover:
        yield TurnoverLimit(name, limit, case.w0)
    yield from _cash(case, limits.max_cash, named=named)


def _frozen(case: PolicyCase, *, named: bool) -> Iterator[Constraint]:
    """What may not be sold stays at least at its weight, what may not be bought at most."""
    for place, instrument in enumerate(case.instruments):
        weight, row = float(case.w0[place]), case.members((instrument,))
        if instrument in case.do_not_sell and weight > 0.0:
            name = f"do_not_sell[{instrument}]" if named else _FIXED_SUM
            yield LinearLimit(row, weight, np.inf, name, name)
        if instrument in case.do_not_buy:
            name = f"do_not_buy[{instrument}]" if named else _FIXED_SUM
            yield LinearLimit(row, -np.inf, weight, name, name)


def _cash(case: PolicyCase, most: float, *, named: bool) -> Iterator[Constraint]:
    """At least what has to stay, at most what there is."""
    row = case.members(case.names[-1:])
    least_name, most_name = ("min_cash_amount", "max_cash") if named else (_FIXED_SUM, _FIXED_SUM)
    if case.min_cash > 0.0:
        yield LinearLimit(row, case.min_cash, np.inf, least_name, least_name)
    if np.isfinite(most):
        yield LinearLimit(row, -np.inf, most, most_name, most_name)
