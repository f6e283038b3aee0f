"""The zoo's objectives and limits on a universe large enough to be solved by parts."""

from functools import cache

import numpy as np
import pytest

from kernel.certificate import lower_bound
from kernel.methods.mean_risk import canonicalize, optimize
from kernel.solvers.short_rows import charged, entangled
from kernel.status import Status
from tests.unit.kernel.oracle import optimum
from tests.unit.kernel.zoo import LIMITS, OBJECTIVES, SETTINGS, Case, Universe, factor_moments, long_only

N, HELD = 180, 25


@cache
def universe() -> Universe:
    """Of many assets a few are held."""
    whole = long_only(factor_moments(3, N), cap=0.08, sectors=9)
    held = np.random.default_rng(1).choice(N, HELD, replace=False)
    w0 = np.zeros(N)
    w0[held] = 1.0 / HELD
    return Universe(whole.moments, whole.lower, whole.upper, whole.sectors, w0, whole.dearness)


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_agrees_with_the_oracle(objective, limits):
    posed = Case(universe(), OBJECTIVES[objective], LIMITS[limits])
    solution = optimize(posed.problem(), SETTINGS)
    assert solution.status is Status.OPTIMAL, solution.message
    assert solution.certificate.objective == pytest.approx(optimum(posed), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("limits", ["turnover one-way", "costs"])
@pytest.mark.parametrize("objective", ["risk", "ratio"])
def test_what_is_held_is_looked_at_from_the_first(objective, limits):
    program = canonicalize(Case(universe(), OBJECTIVES[objective], LIMITS[limits]).problem())
    wanted, tangled = entangled(program, np.arange(N))
    assert tangled
    np.testing.assert_array_equal(np.flatnonzero(wanted), np.flatnonzero(universe().w0))


def test_without_trades_nothing_is_tangled():
    program = canonicalize(Case(universe(), OBJECTIVES["ratio"], LIMITS["sectors"]).problem())
    wanted, tangled = entangled(program, np.arange(N))
    assert not tangled
    assert not wanted.any()


@pytest.mark.parametrize("limits", ["turnover one-way", "costs"])
@pytest.mark.parametrize("objective", ["risk", "utility", "ratio"])
def test_charging_short_rows_never_lowers_the_bound(objective, limits):
    """From multipliers that say nothing of the rows of unheld assets, at the optimum."""
    posed = Case(universe(), OBJECTIVES[objective], LIMITS[limits])
    program = canonicalize(posed.problem())
    x = optimize(posed.problem(), SETTINGS).x
    excluded = np.zeros(program.size, dtype=bool)
    excluded[:N] = (universe().w0 == 0.0) & (x[:N] <= 1e-12)
    rng = np.random.default_rng(0)
    for _ in range(20):
        z = rng.uniform(0.0, 1e-2, len(program.b)) * rng.integers(0, 2, len(program.b))
        assert lower_bound(program, x, charged(program, x, z, excluded)) >= lower_bound(program, x, z) - 1e-12
