"""Conflicts and relaxations of random problems, judged by cvxpy."""

from functools import cache
from itertools import combinations

import numpy as np
import pytest

from kernel.diagnosis import explain
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from kernel.solution import Minimality, PlanKind
from kernel.status import Status
from tests.unit.kernel.diagnosis.limits import CLEAR, infeasible
from tests.unit.kernel.zoo import SETTINGS

CASES = [
    pytest.param(seed, conic, id=f"{'conic' if conic else 'linear'} {seed}") for conic in (0, 1) for seed in range(20)
]
every_case = pytest.mark.parametrize(("seed", "conic"), CASES)


@cache
def explained(seed, conic):
    posed = infeasible(seed, conic=bool(conic))
    explanation = explain(posed.problem(), SETTINGS)
    assert explanation is not None
    return posed, explanation


@every_case
def test_the_conflict_is_irreducible(seed, conic):
    posed, explanation = explained(seed, conic)
    conflict = set(explanation.conflicting)
    assert posed.excess(conflict) > CLEAR
    for name in conflict:
        assert posed.excess(conflict - {name}) < CLEAR, f"it remains a conflict without {name}"


@every_case
def test_no_conflict_is_smaller(seed, conic):
    posed, explanation = explained(seed, conic)
    assert explanation.minimality is Minimality.SMALLEST
    for size in range(1, len(explanation.conflicting)):
        for names in combinations(posed.names, size):
            assert posed.excess(names) < CLEAR


@every_case
def test_every_alternative_resolves_it_and_half_of_it_does_not(seed, conic):
    posed, explanation = explained(seed, conic)
    for plan in explanation.alternatives:
        assert plan.verified
        limits = {limit.name: limit for limit in posed.limits}
        assert all(r.change > 0 and r.limit == limits[r.name].limit for r in plan.relaxations)
        relaxed = posed.with_limits({r.name: r.relaxed_limit for r in plan.relaxations})
        assert relaxed.excess(posed.names) < 1e-8, plan
        half = {r.name: 0.5 * (r.limit + r.relaxed_limit) for r in plan.relaxations}
        assert posed.with_limits(half).excess(posed.names) > CLEAR, plan


@every_case
def test_the_changed_problem_is_solved(seed, conic):
    """With the limits exactly as proposed, whatever the objective."""
    posed, explanation = explained(seed, conic)
    for plan in explanation.alternatives:
        relaxed = posed.with_limits({r.name: r.relaxed_limit for r in plan.relaxations})
        for objective in (MinimizeRisk(), MaximizeReturn(), MaximizeUtility(3.0), MaximizeRatio(-0.5)):
            solution = optimize(relaxed.problem(objective), SETTINGS)
            assert solution.weights is not None, (plan, solution.message)
            assert solution.certificate.violation < 1e-7


@every_case
def test_the_first_alternative_has_the_least_total(seed, conic):
    posed, explanation = explained(seed, conic)
    first = explanation.alternatives[0]
    assert first.kind is PlanKind.LEAST_TOTAL
    assert first.total == pytest.approx(posed.least_total(posed.names), rel=1e-6)
    assert all(plan.total >= first.total * (1 - 1e-6) for plan in explanation.alternatives)


@every_case
def test_no_alternative_changes_fewer_limits(seed, conic):
    posed, explanation = explained(seed, conic)
    fewest = [plan for plan in explanation.alternatives if plan.fewest]
    assert fewest
    count = min(len(plan.relaxations) for plan in fewest)
    assert all(len(plan.relaxations) == count for plan in fewest)
    for left_out in combinations(posed.names, count - 1):
        assert posed.excess(set(posed.names) - set(left_out)) > CLEAR


@every_case
def test_of_the_fewest_limits_the_least_change_is_taken(seed, conic):
    posed, explanation = explained(seed, conic)
    for plan in explanation.alternatives:
        if plan.kind is PlanKind.FEWEST_LIMITS and len(plan.relaxations) == 1:
            assert plan.total == pytest.approx(min(posed.least_total({name}) for name in posed.names), rel=1e-5)


@every_case
def test_other_limits_spare_those_of_the_first(seed, conic):
    _, explanation = explained(seed, conic)
    for plan in explanation.alternatives:
        if plan.kind is PlanKind.OTHER_LIMITS:
            assert not {r.name for r in plan.relaxations} & {r.name for r in explanation.relaxations}


@every_case
def test_there_are_two_ways_unless_one_limit_is_to_blame(seed, conic):
    """With one way only, the limit conflicts alone, and all that the others could give saves nothing."""
    posed, explanation = explained(seed, conic)
    if len(explanation.alternatives) > 1:
        return
    (only,) = explanation.relaxations
    assert explanation.conflicting == (only.name,)
    assert posed.least_total({only.name}) == pytest.approx(explanation.alternatives[0].total, rel=1e-6)
    half = posed.with_limits({only.name: 0.5 * (only.limit + only.relaxed_limit)})
    assert half.excess({only.name}) > CLEAR
    assert "there is no way around it" in explanation.sentence


@every_case
def test_the_order_of_assets_and_limits_does_not_matter(seed, conic):
    posed, explanation = explained(seed, conic)
    order = np.random.default_rng(seed).permutation(posed.moments.n)
    again = explain(posed.permuted(order).problem(), SETTINGS)
    assert len(again.conflicting) == len(explanation.conflicting)
    assert [plan.kind for plan in again.alternatives][:1] == [plan.kind for plan in explanation.alternatives][:1]
    assert again.alternatives[0].total == pytest.approx(explanation.alternatives[0].total, rel=1e-6)
    assert posed.excess(again.conflicting) > CLEAR


@every_case
def test_the_sentence_names_the_limits_and_the_changes(seed, conic):
    posed, explanation = explained(seed, conic)
    solution = optimize(posed.problem(MaximizeReturn()), SETTINGS)
    assert solution.status is Status.INFEASIBLE
    assert solution.message == explanation.sentence
    for name in explanation.conflicting:
        assert f"{name} (" in explanation.sentence
    for relaxation in explanation.relaxations:
        assert f"{relaxation.name} from" in explanation.sentence
    assert "while weights add up to 100%" in explanation.sentence
