"""A policy applied to a portfolio: the weights nearest to the present ones that keep all its limits.

    min ||w - r||   subject to   w_i = 0 for a quality score below the least one, w_i <= largest position,
                                 sum of a sector <= largest sector, tracking error, one-way turnover, cash as it is

The reference r has nothing of what is excluded and everything else in proportion to its present weights: what is sold
for its quality is put into the others in proportion to what they have. Exclusion comes first. Where the other limits
contradict it or each other, the caller has chosen what happens (`OnConflict`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, Decimal

import numpy as np

from kernel.canonical import Vector
from kernel.constraints import LinearLimit
from kernel.diagnosis import explain
from kernel.diagnosis.elastic import NOTHING
from kernel.diagnosis.limits import make_elastic, measured_anywhere
from kernel.diagnosis.sentences import explain_conflict
from kernel.methods.mean_risk import measurements, optimize
from kernel.methods.projection import project
from kernel.objectives import MaximizeReturn
from kernel.problem import Problem, Settings
from kernel.rebalancing.policy_case import LOOSENABLE, OnConflict, PolicyCase, PolicyLimits
from kernel.rebalancing.policy_limits import QUALITY, ROUNDING, LimitNumbers, policy_problem
from kernel.solution import Explanation, Relaxation, Solution
from kernel.status import Status

_WEIGHT = Decimal(1).scaleb(-12)
# Loosened limits are rounded up to a ten-thousandth of a percentage point.
_STEPS = 1_000_000
_ROOMS = (0, 1, 10)
# Where limits contradict each other at any turnover, these give way in this order on the way to a stage's goal.
_GIVING_WAY = ("max_tracking_error", "max_sector", "max_single_position")
# A least change of limits above it, in weights, is no rounding of solvers.
_CONTRADICTION = 1e-6


@dataclass(frozen=True, slots=True)
class PolicyTarget:
    """Where a policy leads, as far as it could be applied.

    Attributes:
        case: What was applied to what.
        status: OPTIMAL with weights; INFEASIBLE where the limits contradict each other; else why there are none.
        message: One sentence on it.
        weights: Target by instrument, cash left out; None where there is none.
        limits: Those of the policy that the trades have to keep, loosened where that was asked for.
        no_worse: Whether a limit that is broken now may stay broken, though not further.
        relaxations: Limits that were loosened.
        explanation: Why the limits contradict each other, where they do and it was not resolved.
        goal: For STAGE: the weights by name at the end of the last stage; empty otherwise.
    """

    case: PolicyCase
    status: Status
    message: str
    weights: Mapping[str, Decimal] | None = None
    limits: PolicyLimits = field(default_factory=PolicyLimits)
    no_worse: bool = False
    relaxations: tuple[Relaxation, ...] = ()
    explanation: Explanation | None = None
    goal: Mapping[str, float] = field(default_factory=dict)


def policy_target(case: PolicyCase, settings: Settings) -> PolicyTarget:
    """Applies a policy.

    Args:
        case: The policy and the portfolio.
        settings: How far searches go.

    Returns:
        The target. Its weights keep every limit of `limits` to the settings' tolerance.

    Raises:
        ProblemError: The limits cannot be posed.
    """
    found = _nearest(_posed(case, case.limits), case.reference(case.excluded), settings)
    target = _resolved(case, settings) if found is None else _reached(case, found, case.limits)
    if target is not None:
        return target
    explanation = _explained(case, settings)
    if explanation is not None:
        return _refused(case, explanation)
    if settings.seconds_left == 0.0:
        return PolicyTarget(case, Status.LIMIT_REACHED, "time ran out before the policy's target was found")
    return PolicyTarget(case, Status.NUMERICAL_FAILURE, "no weights within the limits were found, nor a contradiction")


def _nearest(problem: Problem, target: Vector, settings: Settings) -> Solution | None:
    """The projection of a target onto the limits; None where there is none.

    Limits that contradict each other are found out first: their explanation takes far longer and is wanted once.
    """
    if max([0.0, *(measured.shortfall for measured in measurements(problem, target))]) > ROUNDING:
        elastic = make_elastic(problem)
        outcome = elastic.least_change(settings, elastic=elastic.names)
        if outcome is None or outcome.bound > _CONTRADICTION:
            return None
    found = project(problem, target, settings)
    return None if found.weights is None else found


def _resolved(case: PolicyCase, settings: Settings) -> PolicyTarget | None:
    """What the caller wants in place of a refusal; None where it wants none, or it does not help."""
    match case.on_conflict:
        case OnConflict.RELAX:
            return _relaxed(case, settings)
        case OnConflict.STAGE:
            return _staged(case, settings)
        case _:
            return None


def _posed(case: PolicyCase, limits: PolicyLimits) -> Problem:
    return policy_problem(case, LimitNumbers.of(case, limits), case.excluded)


def _reached(case: PolicyCase, found: Solution, limits: PolicyLimits) -> PolicyTarget:
    assert found.weights is not None
    return PolicyTarget(case, found.status, found.message, exact_weights(case.names, found.weights), limits)


def exact_weights(names: Iterable[str], w: Vector) -> dict[str, Decimal]:
    """Weights of instruments as Decimals, rounded down so that they never exceed the whole.

    Args:
        names: (n,) with cash last, which is left out.
        w: (n,) weights.

    Returns:
        The weights above zero, to twelve decimals.
    """
    pairs = list(zip(names, w.tolist(), strict=True))[:-1]
    exact = {name: Decimal(repr(weight)).quantize(_WEIGHT, rounding=ROUND_DOWN) for name, weight in pairs}
    return {name: weight for name, weight in exact.items() if weight > 0}


def _refused(case: PolicyCase, explanation: Explanation) -> PolicyTarget:
    why = ""
    if case.on_conflict is OnConflict.RELAX:
        named = f"loosening {', '.join(case.relax_order)}" if case.relax_order else "relax_order names no limit, which"
        why = f"{named} does not resolve it: "
    return PolicyTarget(case, Status.INFEASIBLE, f"{why}{explanation.sentence}", explanation=explanation)


def _explained(case: PolicyCase, settings: Settings) -> Explanation | None:
    """The smallest conflict, whoever's limits it is made of, and ways out by the policy's own where there are some."""
    limits, shares = LimitNumbers.of(case, case.limits), settings.shares(2)
    problem = policy_problem(case, limits, case.excluded, named=True)
    conflict = explain(problem, next(shares))
    if conflict is None:
        return None
    ways_out = explain(policy_problem(case, limits, case.excluded), next(shares))
    alternatives = conflict.alternatives if ways_out is None or not ways_out.alternatives else ways_out.alternatives
    sentence = explain_conflict(measured_anywhere(problem), conflict.conflicting, alternatives, conflict.minimality)
    if QUALITY in conflict.conflicting:
        scores = ", ".join(f"{name} ({case.scores[name]})" for name in sorted(case.excluded))
        sentence += f"; excluded below a quality of {case.limits.min_quality_score}: {scores}"
    return Explanation(conflict.conflicting, alternatives, sentence, conflict.minimality)


# --- RELAX


def _relaxed(case: PolicyCase, settings: Settings) -> PolicyTarget | None:
    """The named limits loosened as little as possible, the last one least of all; None where that does not help.

    The last of the order is loosened by no more than is needed when all before it give way freely, then the one before
    it, and so on: the first carries what it can. At their least some limits leave a single portfolio, too little for
    solvers of cones to find: then they are given a little room.
    """
    order = [name for name in case.relax_order if getattr(case.limits, name) is not None]
    for room in _ROOMS:
        limits = _loosened(case, order, room, settings)
        if limits is None:
            continue
        found = _nearest(_posed(case, limits), case.reference(case.excluded), settings)
        if found is not None:
            changed = [name for name in order if getattr(limits, name) != getattr(case.limits, name)]
            relaxations = tuple(_relaxation(name, case.limits, limits) for name in changed)
            return replace(_reached(case, found, limits), relaxations=relaxations)
    return None


def _loosened(case: PolicyCase, order: Sequence[str], room: int, settings: Settings) -> PolicyLimits | None:
    """The limits at their least in the stated order, rounded up and given so many steps of room."""
    limits = case.limits
    for place in reversed(range(len(order))):
        name = order[place]
        outcome = make_elastic(_posed(case, limits)).least_change(settings, elastic=(name,), free=order[:place])
        if outcome is None:
            return None
        if outcome.total > NOTHING:
            least = float(getattr(limits, name)) + outcome.total
            steps = math.ceil((least - ROUNDING) * _STEPS) + room
            limits = replace(limits, **{name: Decimal(steps) / _STEPS})
    return limits


def _relaxation(name: str, asked: PolicyLimits, used: PolicyLimits) -> Relaxation:
    return Relaxation(name, LOOSENABLE[name], float(getattr(asked, name)), float(getattr(used, name)))


# --- STAGE


def _staged(case: PolicyCase, settings: Settings) -> PolicyTarget | None:
    """As far as the turnover limit allows: first out of what is excluded, then nearer to the goal.

    The goal is what the policy leads to when turnover does not count. Limits that are broken now may stay broken but
    not further; only exclusion may raise the tracking error. Where the other limits contradict each other at any
    turnover, the goal is what comes nearest to them, nothing is bought beyond them and what is sold and not placed
    stays in cash. None where no step keeps the limits.
    """
    case = replace(case, do_not_buy=case.do_not_buy | case.excluded)
    limits, leaving = LimitNumbers.of(case, case.limits), case.excluded - case.do_not_sell
    freely, reference = replace(limits, turnover=()), case.reference(leaving)
    goal = _nearest(policy_problem(case, freely, leaving), reference, settings)
    unattainable = None
    if goal is None:
        unattainable = _explained(_at_any_turnover(case), next(settings.shares(2)))
        limits, freely = (replace(part, max_cash=math.inf) for part in (limits, freely))
        goal = _first_of(_as_now(case, freely, leaving), _attainable(case, reference, settings), settings)
    least = None if goal is None else _least_held(case, limits, leaving, settings)
    if goal is None or goal.weights is None or least is None:
        return None
    steps = (_with_at_most(case, problem, leaving, least) for problem in _as_now(case, limits, frozenset()))
    found = _first_of(steps, goal.weights, settings)
    if found is None:
        return None
    tracked = any(report.name == "max_tracking_error" for report in found.constraints)
    kept = case.limits if tracked else replace(case.limits, max_tracking_error=None)
    named = dict(zip(case.names, goal.weights.tolist(), strict=True))
    return replace(_reached(case, found, kept), no_worse=True, explanation=unattainable, goal=named)


def _attainable(case: PolicyCase, reference: Vector, settings: Settings) -> Vector:
    """Where limits that contradict each other lead when they give way as little as possible, tracking error first."""
    near = _relaxed(replace(_at_any_turnover(case), relax_order=_GIVING_WAY), next(settings.shares(2)))
    if near is None or near.weights is None:
        return reference
    named = [float(near.weights.get(name, 0)) for name in case.names[:-1]]
    return np.array([*named, 1.0 - sum(named)])


def _at_any_turnover(case: PolicyCase) -> PolicyCase:
    return replace(case, limits=replace(case.limits, max_turnover=None), own=replace(case.own, max_turnover=None))


def _as_now(case: PolicyCase, limits: LimitNumbers, excluded: frozenset[str]) -> Iterator[Problem]:
    """No limit broken further than now; and the same with the tracking error left aside."""
    as_now = limits.no_worse(case)
    yield policy_problem(case, as_now, excluded)
    yield policy_problem(case, replace(as_now, tracking=()), excluded)


def _first_of(problems: Iterable[Problem], target: Vector, settings: Settings) -> Solution | None:
    """The projection onto the first of the problems that has one."""
    solutions = (_nearest(problem, target, settings) for problem in problems)
    return next((found for found in solutions if found is not None), None)


def _least_held(case: PolicyCase, limits: LimitNumbers, leaving: frozenset[str], settings: Settings) -> float | None:
    """The least weight that `leaving` can have after one step; None where no step keeps the limits."""
    members = case.members(leaving)
    problem = policy_problem(case, replace(limits.no_worse(case), tracking=()), frozenset())
    lightest = replace(problem, moments=replace(problem.moments, mu=-members), objective=MaximizeReturn())
    found = optimize(lightest, settings)
    return None if found.weights is None else max(float(members @ found.weights), 0.0)


def _with_at_most(case: PolicyCase, problem: Problem, leaving: frozenset[str], most: float) -> Problem:
    """The problem with at most so much in `leaving`."""
    cap = LinearLimit(case.members(leaving), -np.inf, most + ROUNDING, QUALITY, QUALITY)
    return replace(problem, constraints=(*problem.constraints, cap))
