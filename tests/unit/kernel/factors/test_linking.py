"""Linked parts add up to the compounded return: Carino's coefficients against exact arithmetic and a textbook."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import ProblemError
from kernel.factors.linking import active_linking, single_linking

DAILY = st.floats(-0.9, 3.0, allow_nan=False, width=64)


def named(count):
    return tuple(f"day {place}" for place in range(count))


def compounded(returns):
    """With 80 digits, of the numbers as they are."""
    with localcontext() as context:
        context.prec = 80
        return math.prod(1 + Decimal(value) for value in returns.tolist()) - 1


def missing(linking, returns):
    """What the linked returns leave of the compounded one, with 80 digits."""
    with localcontext() as context:
        context.prec = 80
        products = zip(linking.coefficients.tolist(), returns.tolist(), strict=True)
        return float(Decimal(linking.total) - sum(Decimal(c) * Decimal(r) for c, r in products))


def by_hand(r, b):
    """Carino's coefficients with so many digits that the smallest return is seen beside one."""
    with localcontext() as context:
        context.prec = 700
        one = Decimal(1)
        pairs = [(Decimal(x), Decimal(y)) for x, y in zip(r, b, strict=True)]
        R, B = math.prod(one + x for x, _ in pairs) - 1, math.prod(one + y for _, y in pairs) - 1

        def smooth(x, y):
            return one / (one + x) if x == y else ((one + x).ln() - (one + y).ln()) / (x - y)

        return float(R - B), [float(smooth(x, y) / smooth(R, B)) for x, y in pairs]


@settings(deadline=None, max_examples=100)
@given(st.lists(DAILY, min_size=1, max_size=30))
def test_any_returns_add_up_to_the_compounded_one(values):
    returns = np.array(values)
    linking, total = single_linking(returns, named(len(values)), "portfolio"), compounded(returns)
    assert abs(linking.total - float(total)) <= 1e-14 * max(1.0, float(1 + total))
    assert abs(missing(linking, returns)) <= 1e-14 * max(1.0, float(1 + total))
    assert (linking.coefficients > 0.0).all()


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(DAILY, DAILY), min_size=1, max_size=30))
def test_any_differences_add_up_to_the_active_return(pairs):
    r, b = np.array(pairs).T
    linking, scale = active_linking(r, b, named(len(pairs))), float(1 + max(0, compounded(r), compounded(b)))
    assert abs(linking.total - float(compounded(r) - compounded(b))) <= 1e-14 * scale
    assert abs(missing(linking, r - b)) <= 2e-14 * scale


@pytest.mark.parametrize(("drift", "multiple"), [(0.00058, 100.0), (0.0, 1.0), (-0.0012, 1e-4)])
def test_8000_days_leave_less_than_a_trillionth(drift, multiple):
    rng = np.random.default_rng(11)
    r, b = drift + 0.01 * rng.standard_normal((2, 8000))
    assert multiple / 4 < float(1 + compounded(r)) < 4 * multiple
    for linking, returns in (
        (single_linking(r, named(8000), "portfolio"), r),
        (active_linking(r, b, named(8000)), r - b),
    ):
        assert abs(missing(linking, returns)) <= 1e-12
    assert abs(single_linking(r, named(8000), "portfolio").total - float(compounded(r))) <= 1e-12


def test_8000_days_that_come_back_to_their_start_leave_nothing():
    rng = np.random.default_rng(12)
    there = 0.02 * rng.standard_normal(4000)
    returns = rng.permutation(np.concatenate([there, -there / (1 + there)]))
    linking = single_linking(returns, named(8000), "portfolio")
    assert abs(linking.total) <= 1e-14
    assert abs(missing(linking, returns)) <= 1e-14


def test_8000_days_in_another_order_have_no_active_return():
    rng = np.random.default_rng(13)
    r = 0.0005 + 0.02 * rng.standard_normal(8000)
    b = rng.permutation(r)
    linking = active_linking(r, b, named(8000))
    assert linking.total == 0.0
    assert abs(missing(linking, r - b)) <= 1e-13


def test_a_period_that_comes_back_to_its_start_is_linked_by_the_limit():
    returns = np.array([1.0, -0.5, 0.25, -0.2])
    linking = single_linking(returns, named(4), "portfolio")
    assert linking.total == pytest.approx(0.0, abs=1e-16)
    np.testing.assert_allclose(linking.coefficients, np.log1p(returns) / returns, rtol=1e-15)
    assert abs(missing(linking, returns)) <= 1e-16


def test_days_without_a_return_have_the_limit():
    linking = single_linking(np.array([0.0, 0.1, 0.0]), named(3), "portfolio")
    assert linking.total == pytest.approx(0.1, rel=1e-15)
    np.testing.assert_allclose(linking.coefficients, [0.1 / math.log(1.1), 1.0, 0.1 / math.log(1.1)], rtol=1e-15)
    assert single_linking(np.zeros(3), named(3), "portfolio").coefficients.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("size", [1e-3, 1e-8, 1e-12, 1e-17, 1e-300, 5e-324])
def test_the_smallest_returns_keep_their_digits(size):
    returns = np.array([size, -size / 2, 3 * size])
    linking = single_linking(returns, named(3), "portfolio")
    _, coefficients = by_hand(returns.tolist(), [0.0, 0.0, 0.0])
    np.testing.assert_allclose(linking.coefficients, coefficients, rtol=1e-14)


@pytest.mark.parametrize("difference", [0.0, 5e-324, 1e-17, 1e-12, 1e-9, 1e-4, 0.1])
def test_differences_of_any_size_keep_their_digits(difference):
    b = np.array([0.02, -0.013, 0.3, -0.4])
    r = b + difference * np.array([1.0, -1.0, 0.5, 2.0])
    total, coefficients = by_hand(r.tolist(), b.tolist())
    linking = active_linking(r, b, named(4))
    np.testing.assert_allclose(linking.coefficients, coefficients, rtol=1e-13)
    assert linking.total == pytest.approx(total, abs=2e-16)


def test_the_order_of_days_changes_nothing():
    rng = np.random.default_rng(5)
    r, b = 0.02 * rng.standard_normal((2, 300))
    order = rng.permutation(300)
    one, other = active_linking(r, b, named(300)), active_linking(r[order], b[order], named(300))
    assert one.total == other.total
    np.testing.assert_array_equal(one.coefficients[order], other.coefficients)


@pytest.mark.parametrize("lost", [-1.0, -1.5, -1e9])
def test_a_day_that_loses_everything_is_named(lost):
    returns = np.array([0.01, lost, 0.02])
    with pytest.raises(ProblemError, match=r"portfolio: loses .*% on day 1; a return of -100% or less"):
        single_linking(returns, named(3), "portfolio")
    with pytest.raises(ProblemError, match=r"benchmark: loses .* on day 1"):
        active_linking(np.zeros(3), returns, named(3))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(bad):
    with pytest.raises(ProblemError, match=r"portfolio\[1\]"):
        single_linking(np.array([0.01, bad]), named(2), "portfolio")


def test_no_day_is_refused():
    with pytest.raises(ProblemError, match="portfolio: there is no day"):
        single_linking(np.zeros(0), (), "portfolio")


def test_growth_beyond_all_numbers_is_refused():
    with pytest.raises(ProblemError, match=r"benchmark: compounds to e\^762 times"):
        active_linking(np.zeros(8000), np.full(8000, 0.1), named(8000))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_benchmark_that_loses_nearly_everything_is_linked(sign):
    days = [str(t) for t in range(250)]
    calm, lost = np.full(250, 0.001), np.full(250, -0.97)
    r, b = (calm, lost) if sign > 0.0 else (lost, calm)
    linking = active_linking(r, b, days)
    assert linking.total == pytest.approx(sign * 1.001**250, rel=1e-12)
    assert linking.coefficients @ (r - b) == pytest.approx(linking.total, rel=1e-12)
