"""What every estimator of a covariance keeps, whatever its formula."""

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.estimation.covariance import CovarianceEstimate, exponentially_weighted, ledoit_wolf, oas, sample
from kernel.estimation.denoising import denoised
from kernel.estimation.factor_model import factor_covariance
from kernel.estimation.gerber import gerber
from kernel.estimation.low_rank import ledoit_wolf_factor, oas_factor, sample_factor
from kernel.factors.window import FactorHistory, factor_design


def returns(T, n, seed=7):
    rng = np.random.default_rng(seed)
    market = rng.normal(0.0003, 0.01, size=(T, 1))
    return market * rng.uniform(0.5, 1.5, size=n) + rng.normal(0, 0.015, size=(T, n))


def by_factors(R, periods_per_year=252):
    """One factor that has nothing to do with the order of the assets."""
    F = np.random.default_rng(11).normal(0, 0.01, size=(len(R), 1))
    design = factor_design(FactorHistory(("market",), F, periods_per_year))
    low_rank = factor_covariance([f"A{i}" for i in range(R.shape[-1])], R, design).low_rank()
    return CovarianceEstimate(low_rank.dense(), low_rank=low_rank)


ESTIMATORS = {
    "sample": sample,
    "exponentially_weighted": lambda R, p=252: exponentially_weighted(R, 20.0, p),
    "ledoit_wolf": ledoit_wolf,
    "oas": oas,
    "denoised": denoised,
    "factor_model": by_factors,
    "gerber": lambda R, p=252: gerber(R, 0.5, p),
}
every = pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS.keys())
SHAPES = [(50, 8), (12, 30), (3, 5), (2, 2), (60, 1), (30, 30)]


@every
@pytest.mark.parametrize(("T", "n"), SHAPES)
def test_result_is_symmetric_semidefinite_closed_and_of_the_year(estimator, T, n):
    if estimator is by_factors and T < 3:
        pytest.skip("a factor and an intercept need three periods")
    R = returns(T, n)
    estimate = estimator(R, 252)
    assert estimate.Sigma.shape == (n, n)
    np.testing.assert_array_equal(estimate.Sigma, estimate.Sigma.T)
    np.testing.assert_allclose(estimate.Sigma, estimator(R, 1).Sigma * 252, rtol=1e-11, atol=1e-17)
    assert np.linalg.eigvalsh(estimate.Sigma)[0] >= -1e-12 * np.abs(estimate.Sigma).max()
    assert 0 <= estimate.repair_distance <= 1e-12
    assert not estimate.Sigma.flags.writeable


@every
@pytest.mark.parametrize(("T", "n"), [(50, 8), (6, 20)])
def test_order_of_assets_does_not_matter(estimator, T, n):
    R, order = returns(T, n), np.random.default_rng(1).permutation(n)
    expected = estimator(R).Sigma[np.ix_(order, order)]
    np.testing.assert_allclose(estimator(R[:, order]).Sigma, expected, rtol=1e-9, atol=1e-14)


@every
@pytest.mark.parametrize(("T", "n"), [(50, 8), (6, 20)])
def test_larger_returns_have_larger_risk_in_proportion(estimator, T, n):
    R = returns(T, n)
    np.testing.assert_allclose(estimator(3.0 * R).Sigma, 9.0 * estimator(R).Sigma, rtol=1e-9, atol=1e-14)


@every
def test_input_is_left_alone(estimator):
    R = returns(20, 3)
    before = R.copy()
    estimator(R)
    np.testing.assert_array_equal(R, before)
    assert R.flags.writeable


@every
@pytest.mark.parametrize("level", [0.0, 0.0001, -0.03])
def test_constant_asset_has_no_covariance(estimator, level):
    R = returns(30, 4)
    R[:, 1] = level
    Sigma = estimator(R).Sigma
    assert not Sigma[1, [0, 2, 3]].any()
    assert estimator in (ledoit_wolf, oas) or Sigma[1, 1] == 0.0


@every
@pytest.mark.parametrize("n", [1, 3])
def test_returns_without_any_risk(estimator, n):
    assert not estimator(np.full((6, n), 0.01)).Sigma.any()


@every
def test_twins_have_one_risk(estimator):
    R = returns(40, 3)
    R[:, 2] = R[:, 0]
    Sigma = estimator(R).Sigma
    assert Sigma[0, 0] == pytest.approx(Sigma[2, 2], rel=1e-12)
    np.testing.assert_allclose(Sigma[1, 0], Sigma[1, 2], rtol=1e-10)


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_bad_return_is_named_by_its_place(estimator, bad):
    R = returns(10, 4)
    R[7, 2] = bad
    with pytest.raises(ProblemError) as error:
        estimator(R)
    assert error.value.field == "returns[7][2]"


@every
@pytest.mark.parametrize("shape", [(5, 0), (5,)])
def test_returns_must_be_a_table(estimator, shape):
    with pytest.raises(ProblemError) as error:
        estimator(np.zeros(shape))
    assert error.value.field == "returns"


FROM_RETURNS = [estimator for name, estimator in ESTIMATORS.items() if name != "factor_model"]


@pytest.mark.parametrize("estimator", [*FROM_RETURNS, sample_factor, ledoit_wolf_factor, oas_factor])
def test_one_period_is_too_few(estimator):
    with pytest.raises(ProblemError, match="at least 2 periods"):
        estimator(np.zeros((1, 3)))


@pytest.mark.parametrize("estimator", [*FROM_RETURNS, sample_factor, ledoit_wolf_factor, oas_factor])
@pytest.mark.parametrize("periods", [0.0, -252.0, np.nan])
def test_year_must_have_periods(estimator, periods):
    with pytest.raises(ProblemError, match="periods_per_year"):
        estimator(np.zeros((3, 3)), periods)


@pytest.mark.parametrize(
    ("factored", "dense"), [(sample_factor, sample), (ledoit_wolf_factor, ledoit_wolf), (oas_factor, oas)]
)
@pytest.mark.parametrize(("T", "n"), [(50, 8), (12, 30), (3, 40), (2, 2), (60, 1), (30, 30), (30, 31)])
def test_low_rank_form_is_the_same_covariance(factored, dense, T, n):
    R = returns(T, n)
    form, expected = factored(R, 252), dense(R, 252)
    assert form.factor.shape == (T, n)
    np.testing.assert_allclose(form.dense(), expected.Sigma, rtol=1e-10, atol=1e-15)
    assert form.shrinkage == (None if expected.shrinkage is None else pytest.approx(expected.shrinkage, rel=1e-10))
    for array in (form.factor, form.diagonal, form.dense()):
        assert not array.flags.writeable
    product = form.factor.T @ form.factor + np.diag(form.diagonal)
    np.testing.assert_allclose(product, expected.Sigma, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("factored", [ledoit_wolf_factor, oas_factor])
def test_low_rank_form_without_any_risk(factored):
    form = factored(np.full((4, 9), 0.01))
    assert form.shrinkage == 0.0
    assert not form.dense().any()


@pytest.mark.parametrize("name", ["denoised", "factor_model"])
@pytest.mark.parametrize(("T", "n"), [(50, 8), (12, 30)])
def test_low_rank_form_goes_with_its_estimate(name, T, n):
    estimate = ESTIMATORS[name](returns(T, n))
    assert estimate.low_rank is not None
    assert len(estimate.low_rank.factor) < min(T, n)
    assert (estimate.low_rank.diagonal > 0).all()
    np.testing.assert_array_equal(estimate.low_rank.dense(), estimate.Sigma)
