"""What plans are made of: quadratic forms in blocks, builders over a part of the weights, costs without cones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernel.builder import ProgramBuilder
from kernel.certificate import assess
from kernel.constraints import ExposureBudget, LinearLimit, RiskLimit, TurnoverLimit, WeightBounds, budget
from kernel.errors import ProblemError
from kernel.measures.registry import MEASURES, MeasureSettings, make_measure
from kernel.measures.volatility import TrackingError
from kernel.methods.mean_risk import canonicalize, optimize
from kernel.multi_period import Period, Plan, plan_problem, solve_plan
from kernel.objectives import MaximizeUtility, MinimizeRisk
from kernel.problem import Problem, Settings
from kernel.quadratic import Quadratic
from kernel.scenarios import Scenarios
from kernel.solvers import solve
from kernel.solvers.power_costs import PowerCosts, polish_power_costs
from tests.unit.kernel.multi_period.plans import Case, limits, plan_of

SETTINGS = Settings()


def forms(seed: int = 0) -> tuple[Quadratic, Quadratic]:
    """A form in blocks with a gap, and the same as one matrix."""
    rng = np.random.default_rng(seed)
    B, F, d = rng.normal(size=(3, 4)), rng.normal(size=(2, 3)), rng.uniform(size=3)
    blocks = {0: Quadratic(B.T @ B), 6: Quadratic(None, F, d), 9: Quadratic(None, np.zeros((0, 2)), d[:2])}
    whole = np.zeros((11, 11))
    whole[:4, :4], whole[6:9, 6:9] = B.T @ B, F.T @ F + np.diag(d)
    whole[9:, 9:] = np.diag(d[:2])
    return Quadratic.along_diagonal(blocks), Quadratic(whole)


def test_a_form_in_blocks_is_its_matrix() -> None:
    parts, whole = forms()
    x, kept = np.random.default_rng(1).normal(size=11), np.array([1, 2, 7, 8, 10])
    assert whole.matrix is not None
    assert parts.size == 11
    assert not parts.is_zero
    assert parts.dense == pytest.approx(whole.matrix)
    assert parts.sparse.toarray() == pytest.approx(whole.matrix)
    assert parts.times(x) == pytest.approx(whole.matrix @ x)
    assert parts.diagonal_entries == pytest.approx(np.diag(whole.matrix))
    assert parts.scaled(3.0).dense == pytest.approx(3.0 * whole.matrix)
    assert parts.restricted(kept).dense == pytest.approx(whole.block(kept))
    assert parts.block(kept[::-1]) == pytest.approx(whole.block(kept[::-1]))
    assert parts.restricted(kept[::-1]).dense == pytest.approx(whole.block(kept[::-1]))
    assert parts.plus(whole).dense == pytest.approx(2.0 * whole.matrix)


def test_blocks_that_overlap_are_refused() -> None:
    with pytest.raises(ProblemError, match="inside of another"):
        Quadratic.along_diagonal({0: Quadratic(np.eye(4)), 3: Quadratic(np.eye(2))})


def test_a_part_of_the_weights_writes_into_the_same_program() -> None:
    builder = ProgramBuilder(6)
    for k in range(2):
        part = builder.over(slice(3 * k, 3 * k + 3), f" in period {k + 1}")
        budget(3).add_to(part)
        WeightBounds(np.zeros(3), np.full(3, 0.5), ("long_only",) * 3, ("cap",) * 3).add_to(part)
        TurnoverLimit("turnover", 0.2, np.full(3, 1 / 3)).add_to(part)
        TurnoverLimit("turnover", 0.3, np.full(3, 1 / 3)).add_to(part)
        assert part.box[1] == pytest.approx(0.5)
        part.minimize_quadratic(Quadratic(np.eye(3)))
        part.minimize_linear(part.weights, np.full(3, float(k)))
    program = builder.build()
    names = {name for block in program.blocks for name in block.names}
    assert names == {"budget", "definition", "turnover in period 1", "turnover in period 2"}
    assert set(program.upper_names.values()) == {"cap in period 1", "cap in period 2"}
    assert set(program.lower_names.values()) == {"long_only"}
    # The trades of a part are there once, however many limits look at them.
    assert program.size == 12
    assert program.P.dense == pytest.approx(np.eye(6))
    assert program.q[:6] == pytest.approx([0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize("word", sorted(set(MEASURES) - {"var"}))
def test_every_convex_measure_can_be_planned(word: str) -> None:
    """Without costs every period is best alone, whatever the measure."""
    case = Case(H=2, n=4, days=(21.0, 63.0), seed=31)
    rng = np.random.default_rng(5)
    R = np.column_stack([0.001 + 0.01 * rng.standard_t(5, (60, 4)), np.full(60, 0.03 / 252)])
    plan = plan_of(case)
    scenarios = Scenarios.history(case.names, R, 252.0)
    periods = tuple(
        replace(p, measure=make_measure(word, p.moments, scenarios, MeasureSettings(0.9))) for p in plan.periods
    )
    found = solve_plan(replace(plan, periods=periods), SETTINGS)
    for h, period in enumerate(periods):
        rules = tuple(limits(case, h, period.moments))
        alone = optimize(Problem(period.moments, plan.objective, period.measure, rules), SETTINGS)
        assert alone.weights is not None
        value, best = (
            float(period.moments.mu @ w) - case.aversion * period.measure.penalty(period.measure.of(w))
            for w in (found.periods[h].weights, alone.weights)
        )
        assert value == pytest.approx(best, rel=1e-6, abs=1e-8)


def test_limits_of_every_kind_hold_in_every_period() -> None:
    case = Case(H=3, shorts=True, gross=1.3, sector=0.5, turnover=0.3, rate=0.001, seed=33)
    plan = plan_of(case)
    benchmark = np.append(np.full(6, 1 / 6), 0.0)
    periods = []
    for period in plan.periods:
        own = (
            RiskLimit("max_tracking_error", TrackingError.against_weights(period.moments, benchmark), 0.08),
            LinearLimit(np.linspace(-1.0, 1.0, 7), 0.0, 0.2, "tilt.minimum", "tilt.maximum", "exposure"),
            ExposureBudget("max_short_exposure", "short", 0.1, np.arange(7) < 6),
        )
        periods.append(replace(period, constraints=(*period.constraints, *own)))
    found = solve_plan(replace(plan, periods=tuple(periods)), SETTINGS)
    assert found.solution.certificate is not None, found.solution.message
    assert found.solution.certificate.gap <= 1e-8
    for h, period in enumerate(found.periods):
        w = period.weights
        reported = {r.name: r for r in found.solution.constraints if r.name.endswith(f"in period {h + 1}")}
        error = float(np.sqrt((w - benchmark) @ case.Sigma(h) @ (w - benchmark)))
        assert reported[f"max_tracking_error in period {h + 1}"].value == pytest.approx(error)
        assert error <= 0.08 + 1e-8
        assert float(np.maximum(-w[:-1], 0.0).sum()) <= 0.1 + 1e-8
        assert float(np.abs(w[:-1]).sum()) <= 1.3 + 1e-8


def test_impact_is_polished_to_the_last_digits() -> None:
    case = Case(H=4, rate=0.0005, impact=0.02, turnover=0.3, n=10, seed=35)
    program = canonicalize(plan_problem(plan_of(case)))
    costs = PowerCosts.of(program)
    assert costs is not None
    assert len(costs.t) == 4 * 10
    raw = solve(program, SETTINGS)
    assessed = assess(program, raw.x, raw.z)
    assert assessed.gap <= 1e-12
    assert assessed.violation <= 1e-12
    again = polish_power_costs(program, raw.x, raw.z)
    assert again[0] is raw.x


def test_impact_within_a_limit_is_left_to_the_cones() -> None:
    """The cost enters a floor under the return, so that it is not of the objective alone."""
    case = Case(H=2, impact=0.02, least=0.02, goal="risk", seed=36)
    program = canonicalize(plan_problem(plan_of(case)))
    assert PowerCosts.of(program) is None
    found = solve_plan(plan_of(case), SETTINGS)
    assert found.solution.certificate is not None
    assert found.solution.certificate.gap <= 1e-7


def test_a_single_period_with_impact_is_exact() -> None:
    case = Case(H=1, n=8, rate=0.0005, impact=0.05, seed=37)
    plan = plan_of(case)
    moments = plan.periods[0].moments
    rules = tuple(limits(case, 0, moments))
    problem = Problem(moments, MaximizeUtility(4.0), plan.periods[0].measure, rules, plan.trading)
    found = optimize(problem, SETTINGS)
    assert found.certificate is not None
    assert found.certificate.gap <= 1e-11


def test_periods_must_agree() -> None:
    plan = plan_of(Case(H=2))
    first, second = plan.periods
    other = replace(second, moments=replace(second.moments, names=tuple("abcdefg")))
    with pytest.raises(ProblemError, match="other assets"):
        _again(plan, (first, other))
    scenarios = Scenarios.history(Case().names, np.zeros((5, 7)) + 0.01, 252.0)
    mad = make_measure("mad", second.moments, scenarios, MeasureSettings())
    with pytest.raises(ProblemError, match="risk measure"):
        _again(plan, (first, replace(second, measure=mad)))
    var = make_measure("var", first.moments, scenarios, MeasureSettings())
    with pytest.raises(ProblemError, match="not convex"):
        _again(plan, (replace(first, measure=var),))


def _again(plan: Plan, periods: tuple[Period, ...]) -> Plan:
    return Plan(periods, plan.w0, MinimizeRisk())
