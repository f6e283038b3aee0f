"""Changes of limits that make a problem feasible, each proven to do so by a second solve.

Which limits change, and by how much, comes from the elastic program; what that means in the caller's numbers is
measured by the constraints themselves on the weights that the changes admit. Every limit is rounded to the looser side.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from kernel.canonical import Vector
from kernel.constraints import Measurement
from kernel.diagnosis.conflict import Names, Oracle, fewest_changes, pruned
from kernel.diagnosis.elastic import NOTHING, Elastic, Outcome
from kernel.problem import Problem, Settings
from kernel.solution import PlanKind, Relaxation, RelaxationPlan

# Changes this small beside the largest are a solver's rounding.
_NOISE = 1e-6
# Single limits that are tried one by one for the least change.
_SINGLES = 12


@dataclass(frozen=True, slots=True)
class _Precision:
    """How a limit is rounded: decimals from the leading one, and room beyond what is needed, relative to its size."""

    decimals: int
    room: float


# Linear programs are exact to rounding. Where a cone leaves a single portfolio, solvers find no multipliers; so little
# room is enough for them.
_LINEAR, _CONIC = _Precision(9, 0.0), _Precision(6, 1e-5)


@dataclass(frozen=True, slots=True)
class _Planner:
    """Turns outcomes of the elastic program into plans.

    Attributes:
        fewest: Least number of limits that have to change; None = not known.
    """

    problem: Problem
    elastic: Elastic
    settings: Settings
    fewest: int | None

    def plan(self, kind: PlanKind, outcome: Outcome | None) -> RelaxationPlan | None:
        """The outcome as changes of the caller's limits; None where there are none.

        The limits are moved and the problem solved anew; what the weights found there need is what is proposed, so that
        those weights prove it.
        """
        if outcome is None:
            return None
        stretch = np.where(outcome.stretch > max(NOTHING, _NOISE * outcome.stretch.max()), outcome.stretch, 0.0)
        again = self.elastic.moved(stretch).least_change(self.settings, elastic=self.elastic.names)
        changed = {self.elastic.names[k] for k in self.elastic.owners[stretch > 0.0].tolist()}
        found = list(_measurements(self.problem, outcome.w if again is None else again.w))
        relaxations = tuple(self._relaxations(found, changed))
        if not relaxations:
            return None
        missed = max(-measured.slack for measured in found if measured.name not in changed)
        verified = again is not None and max(again.total, missed) <= self.settings.tolerance
        fewest = self.fewest is not None and len({r.name for r in relaxations}) <= self.fewest
        return RelaxationPlan(kind, relaxations, outcome.total, fewest, verified, outcome.proven)

    def _relaxations(self, found: Iterable[Measurement], changed: Collection[str]) -> Iterator[Relaxation]:
        precision = _LINEAR if self.elastic.program.has_linear_rows else _CONIC
        for measured in found:
            if measured.name in changed and measured.slack < -0.1 * NOTHING:
                yield Relaxation(measured.name, measured.unit, measured.limit, _loosened(measured, precision))


def find_alternatives(problem: Problem, oracle: Oracle, conflict: Names) -> tuple[RelaxationPlan, ...]:
    """Up to three different ways to make the problem feasible, the one of least total change first.

    Beside the least total stand the fewest limits; where they are one, the least total that spares those limits; and
    where there is none, the change that is spread most evenly. With one limit alone to blame there may be one way only.
    """
    elastic, settings = oracle.elastic, oracle.limited()
    fewest = fewest_changes(oracle, conflict)
    planner = _Planner(problem, elastic, settings, None if fewest is None else len(fewest[0]))
    first = oracle.least_change(elastic.names)
    plans = [planner.plan(PlanKind.LEAST_TOTAL, first)]
    if not (plans[0] and plans[0].fewest):
        plans.append(planner.plan(PlanKind.FEWEST_LIMITS, _fewest(oracle, fewest, first)))
    if first is not None and not _differ(plans):
        others = frozenset(elastic.names) - oracle.changed(first)
        plans.append(planner.plan(PlanKind.OTHER_LIMITS, oracle.least_change(others)))
    if not _differ(plans):
        plans.append(planner.plan(PlanKind.EVEN, _even(elastic, settings)))
    return tuple(_distinct(plans))


def _fewest(oracle: Oracle, found: tuple[Names, list[Names]] | None, first: Outcome | None) -> Outcome | None:
    """The least total change of the fewest limits; of single limits that each suffice, the one that changes least.

    Where the fewest are not known, of those in the `first` outcome no more than necessary.
    """
    if found is None:
        return None if first is None else oracle.least_change(pruned(oracle, oracle.changed(first)))
    fewest, conflicts = found
    choices = [fewest]
    if len(fewest) == 1:
        choices = [frozenset({name}) for name in sorted(frozenset.intersection(*conflicts))[:_SINGLES]]
    outcomes = [oracle.least_change(choice) for choice in choices]
    return min((o for o in outcomes if o is not None), key=lambda o: o.total, default=None)


def _even(elastic: Elastic, settings: Settings) -> Outcome | None:
    largest = elastic.least_largest_change(settings)
    if largest is None:
        return None
    # Without room the changes at the largest would leave the solver no interior.
    room = _NOISE * largest
    return elastic.least_change(settings, elastic=elastic.names, largest=largest + room)


def _differ(plans: Collection[RelaxationPlan | None]) -> bool:
    return len(list(_distinct(plans))) > 1


def _distinct(plans: Collection[RelaxationPlan | None]) -> Iterator[RelaxationPlan]:
    """The plans that are not there already; of two equal ones the first."""
    seen: list[RelaxationPlan] = []
    for plan in plans:
        if plan is not None and not any(_same(plan, other) for other in seen):
            seen.append(plan)
            yield plan


def _same(plan: RelaxationPlan, other: RelaxationPlan) -> bool:
    if [(r.name, r.limit) for r in plan.relaxations] != [(r.name, r.limit) for r in other.relaxations]:
        return False
    pairs = zip(plan.relaxations, other.relaxations, strict=True)
    return all(math.isclose(a.change, b.change, rel_tol=1e-4, abs_tol=1e-7) for a, b in pairs)


def _measurements(problem: Problem, w: Vector) -> Iterator[Measurement]:
    for constraint in problem.constraints:
        yield from constraint.measure(w)


def _loosened(measured: Measurement, precision: _Precision) -> float:
    """The limit that the measured value just meets, rounded to the looser side; equalities and numbers move to it."""
    if measured.sense == "=" or measured.unit == "positions":
        return measured.value
    size = max(abs(measured.value), abs(measured.limit))
    last = precision.decimals - math.floor(math.log10(size))
    looser = 1.0 if measured.sense == "<=" else -1.0
    steps = looser * (measured.value + looser * precision.room * size) * 10.0**last
    # A value that is round but for its own rounding stays where it is.
    # Adding zero turns -0 into 0.
    return looser * round(math.ceil(steps - 1e-3) / 10.0**last, last) + 0.0
