"""Where policies lead: the nearest weights within all limits, least loosening in order, and stages, judged by cvxpy."""

import warnings
from dataclasses import replace
from decimal import Decimal

import cvxpy as cp
import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.measures.volatility import TrackingError
from kernel.problem import Moments, Settings
from kernel.rebalancing.policy import policy_target
from kernel.rebalancing.policy_case import LOOSENABLE, OnConflict, PolicyCase, PolicyLimits
from kernel.status import Status

SECTORS = ("Energy", "Health", "Tech")
SETTINGS = Settings()


def limits(quality=None, position=None, sector=None, tracking=None, turnover=None):
    numbers = (quality, position, sector, tracking, turnover)
    return PolicyLimits(*(None if number is None else Decimal(number) for number in numbers))


def tracking_error(names, covariance, benchmark):
    moments = Moments((*names, "CASH"), np.zeros(len(names) + 1), np.pad(covariance, (0, 1)))
    return TrackingError.against_weights(moments, np.append(benchmark, 0.0))


def worked_example(**changes):
    """AAPL, JNJ and XOM as in the example of the quality policy: 23,250, 24,870 and 22,460 of 70,580."""
    names = ("AAPL", "JNJ", "XOM")
    weights = np.array([23250.0, 24870.0, 22460.0, 0.0]) / 70580.0
    plain = {
        "names": (*names, "CASH"),
        "w0": weights,
        "scores": {"AAPL": Decimal("9.2"), "JNJ": Decimal("9.0"), "XOM": Decimal("4.5")},
        "sectors": {"AAPL": "Tech", "JNJ": "Health", "XOM": "Energy"},
        "limits": limits("6.0", "0.10", "0.25", "0.02", "0.20"),
        "tracking": tracking_error(names, np.diag([0.04, 0.02, 0.04]), weights[:3]),
    }
    return PolicyCase(**{**plain, **changes})


def random_case(rng, **changes):
    """Twelve names in three sectors with a benchmark of their own."""
    count = 12
    names = tuple(f"n{k:02}" for k in range(count))
    root = rng.normal(size=(count, 4)) * 0.1
    covariance = root @ root.T + np.diag(rng.uniform(0.005, 0.02, count))
    weights = rng.dirichlet(np.full(count + 1, 2.0))
    plain = {
        "names": (*names, "CASH"),
        "w0": weights,
        "scores": {name: Decimal(int(rng.integers(20, 100))) / 10 for name in names},
        "sectors": {name: SECTORS[k % 3] for k, name in enumerate(names)},
        "limits": limits("4.0", "0.15", "0.45", "0.06", "0.45"),
        "tracking": tracking_error(names, covariance, rng.dirichlet(np.full(count, 3.0))),
    }
    return PolicyCase(**{**plain, **changes})


class Judge:
    """The same limits, written down once more for another modelling language."""

    def __init__(self, case):
        self.case, self.w = case, cp.Variable(len(case.names), nonneg=True)
        self.keep = np.array([1.0 if self.is_kept(name) else 0.0 for name in case.names])
        self.slack = {name: cp.Variable(nonneg=True) for name in LOOSENABLE}

    def is_kept(self, name):
        score, least = self.case.scores.get(name), self.case.limits.min_quality_score
        return score is None or least is None or score >= least

    def reference(self):
        kept = self.case.w0[:-1] * self.keep[:-1]
        cash = max(self.case.w0[-1], self.case.min_cash)
        return np.append(kept / kept.sum() * (1.0 - cash), cash)

    def limit(self, name, slack):
        return float(getattr(self.case.limits, name)) + (self.slack[name] if name in slack else 0.0)

    def constraints(self, slack=()):
        case, w = self.case, self.w
        rows = [cp.sum(w) == 1, w <= self.keep, w[-1] <= max(case.w0[-1], case.min_cash), w[-1] >= case.min_cash]
        rows.append(w[:-1] <= self.limit("max_single_position", slack))
        for sector in sorted(set(case.sectors.values())):
            members = np.array([float(case.sectors.get(name) == sector) for name in case.names])
            rows.append(members @ w <= self.limit("max_sector", slack))
        error = cp.norm(case.tracking.root @ w - case.tracking.shift)
        rows.append(error <= self.limit("max_tracking_error", slack))
        rows.append(0.5 * cp.norm1(w - case.w0) <= self.limit("max_turnover", slack))
        return rows

    def nearest(self):
        problem = cp.Problem(cp.Minimize(cp.norm(self.w - self.reference())), self.constraints())
        problem.solve(solver=cp.CLARABEL)
        return problem.value if problem.status in ("optimal", "optimal_inaccurate") else None

    def least(self, order, place, loosened):
        """Least loosening of one limit where those after it are loosened as given, and those before it at will."""
        rows = self.constraints(order)
        rows += [self.slack[name] <= 2.0 for name in order[:place]]
        rows += [self.slack[name] <= loosened.get(name, 0.0) for name in order[place + 1 :]]
        problem = cp.Problem(cp.Minimize(self.slack[order[place]]), rows)
        with warnings.catch_warnings(action="ignore"):
            # Nearly without interior: the solver ends a little short of its tolerance and says so.
            problem.solve(solver=cp.CLARABEL)
        return problem.value


def vector(case, target):
    weights = np.array([float(target.weights.get(name, 0)) for name in case.names])
    weights[-1] = 1.0 - weights[:-1].sum()
    return weights


def test_nearest_weights_within_all_limits():
    rng = np.random.default_rng(1)
    feasible = 0
    for _ in range(40):
        case = random_case(rng)
        judge, target = Judge(case), policy_target(case, SETTINGS)
        distance = judge.nearest()
        if distance is None:
            assert target.status is Status.INFEASIBLE
            assert target.weights is None
            continue
        feasible += 1
        w = vector(case, target)
        assert np.linalg.norm(w - judge.reference()) == pytest.approx(distance, abs=2e-6)
        judge.w.value = w
        assert max(float(np.max(row.violation())) for row in judge.constraints()) < 1e-7
    assert 10 < feasible < 40


def test_least_loosening_in_the_stated_order():
    rng = np.random.default_rng(2)
    seen = 0
    for _ in range(12):
        case = random_case(rng, limits=limits("5.0", "0.12", "0.35", "0.03", "0.25"))
        order = tuple(rng.permutation(list(LOOSENABLE)).tolist())
        if Judge(case).nearest() is not None:
            continue
        seen += 1
        target = policy_target(replace(case, on_conflict=OnConflict.RELAX, relax_order=order), SETTINGS)
        assert target.weights is not None
        found = {relaxation.name: relaxation.relaxed_limit - relaxation.limit for relaxation in target.relaxations}
        for place, name in enumerate(order):
            least = Judge(case).least(order, place, found)
            assert found.get(name, 0.0) == pytest.approx(least, abs=2e-5), (name, order)
        judge = Judge(replace(case, limits=target.limits))
        judge.w.value = vector(case, target)
        assert max(float(np.max(row.violation())) for row in judge.constraints()) < 1e-7
    assert seen > 8


def test_a_limit_that_is_not_named_stays_and_may_leave_no_way():
    order = ("max_turnover", "max_sector", "max_tracking_error")
    target = policy_target(worked_example(on_conflict=OnConflict.RELAX, relax_order=order), SETTINGS)
    assert target.status is Status.INFEASIBLE
    assert target.weights is None
    assert target.message.startswith("loosening max_turnover, max_sector, max_tracking_error does not resolve it: ")


def test_the_worked_example_fails_with_both_contradictions_in_numbers():
    target = policy_target(worked_example(), SETTINGS)
    assert target.status is Status.INFEASIBLE
    assert target.explanation is not None
    assert set(target.explanation.conflicting) in (
        {"max_turnover", "min_quality_score"},
        {"max_single_position", "max_cash"},
    )
    loosened = {relaxation.name: relaxation.relaxed_limit for relaxation in target.explanation.relaxations}
    # Two names share the whole, and all of XOM has to be sold: 22,460 of 70,580.
    assert loosened["max_single_position"] == pytest.approx(0.5, abs=1e-5)
    assert loosened["max_turnover"] == pytest.approx(22460 / 70580, abs=1e-5)


def test_the_worked_example_relaxed():
    order = ("max_single_position", "max_sector", "max_tracking_error", "max_turnover")
    target = policy_target(worked_example(on_conflict=OnConflict.RELAX, relax_order=order), SETTINGS)
    assert target.status is Status.OPTIMAL
    assert "XOM" not in target.weights
    assert sum(target.weights.values()) == pytest.approx(Decimal(1), abs=Decimal("1e-9"))
    found = {relaxation.name: relaxation.relaxed_limit for relaxation in target.relaxations}
    assert found["max_turnover"] == 0.318221  # 31.8220...% rounded up to a ten-thousandth of a point


def test_exclusion_alone_invests_in_proportion():
    target = policy_target(worked_example(limits=limits("6.0")), SETTINGS)
    invested = Decimal(23250 + 24870)
    assert target.weights["AAPL"] == pytest.approx(23250 / invested, abs=Decimal("1e-9"))
    assert target.weights["JNJ"] == pytest.approx(24870 / invested, abs=Decimal("1e-9"))


def test_at_the_least_quality_is_not_below_it_and_unknown_is_not_either():
    scores = {"AAPL": Decimal("6.0"), "JNJ": None, "XOM": Decimal("5.9999")}
    case = worked_example(limits=limits("6.0"), scores=scores)
    assert case.excluded == {"XOM"}
    assert case.unscored == ("JNJ",)
    assert set(policy_target(case, SETTINGS).weights) == {"AAPL", "JNJ"}


def test_the_first_stage_sells_what_is_excluded_and_buys_nothing_beyond_limits():
    target = policy_target(worked_example(on_conflict=OnConflict.STAGE), SETTINGS)
    assert target.status is Status.OPTIMAL
    # 20% of turnover goes out of XOM. The others are above 10% and stay; two names can never stay below 10%.
    expected = {"AAPL": 23250 / 70580, "JNJ": 24870 / 70580, "XOM": 22460 / 70580 - 0.2}
    assert {name: float(weight) for name, weight in target.weights.items()} == pytest.approx(expected, abs=1e-8)
    assert target.no_worse
    assert target.explanation is not None
    assert "max_single_position" in target.explanation.conflicting


def test_a_limit_out_of_reach_does_not_keep_a_stage_from_the_others():
    # No portfolio within 34% a name is within 0.1% of AAPL alone; JNJ with 35.2% is still to come down.
    names, spread = ("AAPL", "JNJ", "XOM"), np.diag([0.04, 0.02, 0.04])
    case = worked_example(
        limits=limits(None, "0.34", None, "0.001", "0.40"),
        tracking=tracking_error(names, spread, np.array([1.0, 0.0, 0.0])),
        on_conflict=OnConflict.STAGE,
    )
    target = policy_target(case, SETTINGS)
    assert target.explanation is not None
    assert max(float(weight) for weight in target.weights.values()) <= 0.34 + 1e-8
    assert case.tracking.of(vector(case, target)) <= case.tracking.of(case.w0) + 1e-8


def test_stages_reach_the_goal_and_each_is_as_far_out_as_turnover_allows():
    rng = np.random.default_rng(4)
    staged = 0
    for _ in range(16):
        case = random_case(rng, limits=limits("5.0", "0.20", "0.60", "0.12", "0.10"), on_conflict=OnConflict.STAGE)
        out = sum(w for name, w in zip(case.names, case.w0, strict=True) if name in case.excluded)
        if out <= 0.1:
            continue
        target = policy_target(case, SETTINGS)
        if target.explanation is not None:
            continue
        staged += 1
        for _ in range(40):
            w = vector(case, target)
            left = sum(weight for name, weight in zip(case.names, w, strict=True) if name in case.excluded)
            assert 0.5 * np.abs(w - case.w0).sum() <= 0.1 + 1e-8
            assert left == pytest.approx(max(out - 0.1, 0.0), abs=1e-7)
            out, case = left, replace(case, w0=w / w.sum())
            if out < 1e-7 and policy_target(replace(case, on_conflict=OnConflict.FAIL), SETTINGS).weights is not None:
                break
            target = policy_target(case, SETTINGS)
        else:
            pytest.fail("the goal is never reached")
    assert staged > 3


def test_what_may_not_be_sold_cannot_be_excluded():
    frozen = worked_example(limits=limits("6.0"), do_not_sell=frozenset({"XOM"}))
    target = policy_target(frozen, SETTINGS)
    assert target.status is Status.INFEASIBLE
    assert set(target.explanation.conflicting) == {"min_quality_score", "do_not_sell[XOM]"}
    staged = policy_target(replace(frozen, on_conflict=OnConflict.STAGE), SETTINGS)
    assert float(staged.weights["XOM"]) == pytest.approx(22460 / 70580, abs=1e-9)


def test_the_requests_own_limits_are_never_loosened():
    case = worked_example(
        limits=limits("6.0", turnover="0.2"),
        own=limits(turnover="0.25"),
        on_conflict=OnConflict.RELAX,
        relax_order=("max_turnover",),
    )
    target = policy_target(case, SETTINGS)
    assert target.status is Status.INFEASIBLE
    assert "raise constraints.max_turnover from 25% to 31.82" in target.message


def test_cash_is_kept_and_raised_where_it_has_to_be():
    weights = np.array([0.5, 0.4, 0.1])
    case = PolicyCase(("A", "B", "CASH"), weights, {}, {}, limits(position="0.5"))
    assert float(sum(policy_target(case, SETTINGS).weights.values())) == pytest.approx(0.9, abs=1e-9)
    raised = policy_target(replace(case, min_cash=0.25), SETTINGS)
    assert float(sum(raised.weights.values())) == pytest.approx(0.75, abs=1e-9)


def test_nothing_is_left_when_everything_is_excluded():
    target = policy_target(worked_example(scores=dict.fromkeys(("AAPL", "JNJ", "XOM"), Decimal(1))), SETTINGS)
    assert target.status is Status.INFEASIBLE
    assert target.weights is None


def test_malformed_cases_are_refused():
    with pytest.raises(ProblemError, match="relax_order: names min_quality_score"):
        worked_example(relax_order=("min_quality_score",))
    with pytest.raises(ProblemError, match="needs a benchmark"):
        worked_example(tracking=None)
