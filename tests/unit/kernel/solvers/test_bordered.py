"""Bordered systems against NumPy's dense solution, by every way that they are solved."""

import numpy as np
import pytest
import scipy.sparse as sp

from kernel.solvers.bordered import Bordered, few_long_rows


def system(n, rows, seed, *, blocks=0, corners=3):
    """H diagonal but for a block of its last variables and without curvature in some of them; rows cover everything."""
    rng = np.random.default_rng(seed)
    H = np.diag(rng.uniform(0.5, 2.0, n))
    if blocks:
        M = rng.normal(size=(blocks, blocks))
        H[-blocks:, -blocks:] = M @ M.T + np.eye(blocks)
    H[0, 0] = 0.0
    corner = np.zeros(rows)
    corner[:corners] = -1.0
    return Bordered(sp.csr_array(H), sp.csr_array(rng.normal(size=(rows, n))), corner)


@pytest.mark.parametrize(("n", "rows", "blocks"), [(50, 8, 0), (600, 20, 0), (600, 20, 40), (1_500, 6, 1_100)], ids=str)
def test_solutions(n, rows, blocks):
    posed = system(n, rows, n + blocks, blocks=blocks)
    right = np.random.default_rng(1).normal(size=n + rows)
    expected = np.linalg.solve(posed.whole.toarray(), right)
    found = posed.solved(right)
    np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("n", [40, 700])
def test_tied_rows_leave_multipliers_where_they_were(n):
    """The second row says the first again: any split of its multiplier solves the system, and the one known is kept."""
    one = system(n, 4, 3, corners=0)
    twice = Bordered(one.H, sp.csr_array(sp.vstack([one.border, one.border[[0]]])), np.zeros(5))
    right = np.random.default_rng(2).normal(size=n + 4)
    expected = np.append(np.linalg.solve(one.whole.toarray(), right), 0.3)
    expected[n] -= 0.3
    known = expected + 0.1 * np.append(np.ones(n), np.zeros(5))
    both = np.append(right, right[n])
    found = twice.solved_nearby(both, known)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(twice.whole @ found, both, atol=1e-8)


def test_numbers_that_are_not_finite_have_no_solution():
    posed = system(500, 4, 5)
    posed.H.data[3] = np.nan
    right = np.zeros(504)
    assert posed.solved(right) is None
    assert posed.solved_nearby(right, right) is None


def test_a_variable_that_nothing_determines_has_no_solution():
    H = sp.csr_array(np.diag(np.append(np.ones(599), 0.0)))
    border = sp.csr_array(np.append(np.ones(599), 0.0)[None, :])
    assert Bordered(H, border, np.zeros(1)).solved(np.ones(601)) is None


def test_few_long_rows():
    M = sp.csr_array(np.vstack([np.ones((3, 500)), np.eye(500)]))
    np.testing.assert_array_equal(np.flatnonzero(few_long_rows(M)), np.arange(3))
    assert not few_long_rows(sp.csr_array(np.ones((3, 50)))).any(), "a small square is solved densely"
    assert not few_long_rows(sp.csr_array(np.ones((300, 500)))).any(), "many long rows are no saving"
