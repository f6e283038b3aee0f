"""Principal components as factors, against scikit-learn and regressions of numpy."""

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.decomposition import PCA

from kernel.errors import ProblemError
from kernel.factors.model import RiskSettings
from kernel.factors.statistical import StatisticalSettings, statistical_model

UNSHRUNK = RiskSettings(specific_shrinkage=0.0)


def panel(seed=0, periods=250, assets=40, factors=3, noise=0.01):
    rng = np.random.default_rng(seed)
    F = rng.standard_normal((periods, factors)) * 0.02 * 0.6 ** np.arange(factors)
    B = 0.3 + rng.standard_normal((assets, factors))
    sizes = noise * rng.uniform(0.5, 2.0, assets)
    return 0.0004 + F @ B.T + sizes * rng.standard_normal((periods, assets))


def names(R):
    return tuple(f"A{i:03d}" for i in range(R.shape[1]))


def fixed(k, **settings):
    return StatisticalSettings("fixed", k, **settings)


def estimate(R, settings, risk=UNSHRUNK):
    return statistical_model(names(R), R, settings, risk)


@pytest.mark.parametrize(("periods", "assets"), [(250, 40), (60, 150), (3, 2), (41, 40), (40, 41)])
def test_components_are_those_of_scikit_learn(periods, assets):
    R = panel(periods=periods, assets=assets)
    k = min(3, assets - 1, periods - 2)
    found, oracle = estimate(R, fixed(k)), PCA(k, svd_solver="full").fit(R)
    signs = np.sign(oracle.components_.sum(axis=1))
    np.testing.assert_allclose(found.model.B, (signs[:, None] * oracle.components_).T * np.sqrt(assets), atol=1e-10)
    np.testing.assert_allclose(np.diag(found.model.Phi), 252 * oracle.explained_variance_ / assets, rtol=1e-10)
    scores = found.F - found.F.mean(axis=0)
    np.testing.assert_allclose(scores, signs * oracle.transform(R) / np.sqrt(assets), atol=1e-12)
    share = oracle.explained_variance_ratio_.sum()
    assert found.diagnostics["explained_share"] == pytest.approx(share, rel=1e-10)


def test_exposures_have_the_scale_of_bai_and_ng_and_factors_are_uncorrelated():
    R = panel()
    found = estimate(R, fixed(3))
    np.testing.assert_allclose(found.model.B.T @ found.model.B / 40, np.eye(3), atol=1e-12)
    variances = np.diag(found.model.Phi)
    np.testing.assert_allclose(found.model.Phi, np.diag(variances), atol=1e-14)
    assert (np.diff(variances) < 0).all()
    assert (found.model.B.sum(axis=0) > 0).all()
    assert found.model.factors == ("statistical_1", "statistical_2", "statistical_3")


def test_factor_returns_are_those_of_portfolios():
    R = panel()
    found = estimate(R, fixed(3))
    np.testing.assert_allclose(found.F, R @ found.model.B / 40, rtol=1e-11)
    X = np.column_stack([np.ones(250), found.F])
    np.testing.assert_allclose(found.alpha, 252 * np.linalg.lstsq(X, R, rcond=None)[0][0], atol=1e-12)


@pytest.mark.parametrize("standardize", [False, True])
def test_exposures_are_slopes_with_their_standard_errors(standardize):
    R = panel()
    found = estimate(R, fixed(3, standardize=standardize))
    X = np.column_stack([np.ones(250), found.F])
    solution, squares, _, _ = np.linalg.lstsq(X, R, rcond=None)
    np.testing.assert_allclose(found.model.B, solution[1:].T, atol=1e-11)
    for i in (0, 17, 39):
        fit = sm.OLS(R[:, i], X).fit(cov_type="HAC", cov_kwds={"maxlags": 4, "use_correction": True})
        np.testing.assert_allclose(found.standard_errors[i], fit.bse[1:], rtol=1e-9)
    assert found.diagnostics["lags"] == 4
    total = np.sum((R - R.mean(axis=0)) ** 2, axis=0)
    np.testing.assert_allclose(found.r_squared, 1 - squares / total, atol=1e-12)
    np.testing.assert_allclose(np.mean(found.model.B**2, axis=0), 1.0, rtol=1e-12)
    freedom = (250 - 1 - 3) * (1 - 3 / 40)
    np.testing.assert_allclose(found.unshrunk, 252 * squares / freedom, rtol=1e-10)
    assert found.diagnostics["degrees_of_freedom"] == pytest.approx(freedom)


def test_standardized_components_are_those_of_the_correlations():
    R = panel() * np.geomspace(0.1, 10.0, 40)
    found = estimate(R, fixed(2, standardize=True))
    oracle = PCA(2, svd_solver="full").fit(R / R.std(axis=0))
    exposures = oracle.components_.T * R.std(axis=0)[:, None]
    exposures *= np.sign(exposures.sum(axis=0)) / np.sqrt(np.mean(exposures**2, axis=0))
    np.testing.assert_allclose(found.model.B, exposures, rtol=1e-8, atol=1e-10)


def test_specific_variances_are_unbiased():
    """Where all specific risks are alike, their mean is found for few assets, too."""
    rng = np.random.default_rng(2)
    means = []
    for _ in range(200):
        R = rng.standard_normal((60, 1)) @ np.ones((1, 6)) * 0.03 + 0.01 * rng.standard_normal((60, 6))
        means.append(estimate(R, fixed(1)).unshrunk.mean() / 252)
    assert np.mean(means) == pytest.approx(1e-4, rel=0.02)


def test_the_model_explains_the_whole_variance_up_to_the_degrees_of_freedom():
    R = panel(periods=1000)
    found = estimate(R, fixed(3))
    implied = np.diag(found.model.low_rank().dense())
    np.testing.assert_allclose(implied, 252 * R.var(axis=0, ddof=1), rtol=0.08)


@pytest.mark.parametrize("standardize", [False, True])
def test_the_order_of_assets_changes_nothing(standardize):
    R = panel()
    order = np.random.default_rng(4).permutation(40)
    found = estimate(R, fixed(3, standardize=standardize))
    shuffled = statistical_model(
        tuple(names(R)[i] for i in order), R[:, order], fixed(3, standardize=standardize), UNSHRUNK
    )
    np.testing.assert_allclose(shuffled.model.B, found.model.B[order], atol=1e-11)
    np.testing.assert_allclose(shuffled.F, found.F, atol=1e-13)
    np.testing.assert_allclose(shuffled.model.specific, found.model.specific[order], rtol=1e-10)


def test_the_same_returns_give_the_same_bits_and_mirrored_ones_the_same_exposures():
    R = panel()
    one, two, mirrored = (estimate(table, fixed(3)) for table in (R, R.copy(), -R))
    assert one.model.B.tobytes() == two.model.B.tobytes()
    assert one.F.tobytes() == two.F.tobytes()
    np.testing.assert_allclose(mirrored.model.B, one.model.B, atol=1e-12)
    np.testing.assert_allclose(mirrored.F, -one.F, atol=1e-14)


@pytest.mark.parametrize("unit", [1e-8, 1e5])
def test_the_unit_of_returns_changes_their_scale_alone(unit):
    R = panel()
    found, scaled = estimate(R, StatisticalSettings()), estimate(unit * R, StatisticalSettings())
    np.testing.assert_allclose(scaled.model.B, found.model.B, atol=1e-10)
    np.testing.assert_allclose(scaled.model.Phi / unit**2, found.model.Phi, atol=1e-12)


def test_a_component_without_sum_has_its_largest_exposure_positive():
    x = np.array([0.01, -0.02, 0.03, -0.02, 0.0])
    found = statistical_model(("B", "A"), np.column_stack([x, -x]), fixed(1), UNSHRUNK)
    np.testing.assert_allclose(found.model.B[:, 0], [-1.0, 1.0], atol=1e-12)
    swapped = statistical_model(("A", "B"), np.column_stack([-x, x]), fixed(1), UNSHRUNK)
    np.testing.assert_allclose(swapped.model.B[:, 0], [1.0, -1.0], atol=1e-12)


def test_returns_that_factors_explain_without_rest_have_no_specific_risk():
    rng = np.random.default_rng(6)
    R = 0.01 * rng.standard_normal((80, 2)) @ rng.standard_normal((2, 9))
    for settings in (fixed(2), StatisticalSettings(), StatisticalSettings("eigenvalue_ratio")):
        found = estimate(R, settings, RiskSettings())
        assert len(found.model.factors) == 2
        assert (found.model.specific == 0.0).all()
        assert found.shrinkage == 0.0
        np.testing.assert_allclose(found.r_squared, 1.0)
        np.testing.assert_allclose(found.model.low_rank().dense(), 252 * np.cov(R.T), atol=1e-12)


def test_an_asset_that_never_moves_has_no_exposure_and_no_risk():
    R = panel()
    R[:, 7] = 0.0001
    found = estimate(R, fixed(3))
    assert np.abs(found.model.B[7]).max() < 1e-12
    assert found.model.specific[7] == found.r_squared[7] == 0.0
    with pytest.raises(ProblemError, match="A007"):
        estimate(R, fixed(3, standardize=True))


def test_equal_variances_are_noted():
    R = np.kron(np.eye(3), np.array([[1.0], [-1.0]])) * 0.01
    assert estimate(R, fixed(1)).diagnostics["smallest_gap"] == pytest.approx(0.0, abs=1e-12)
    assert estimate(panel(), fixed(2)).diagnostics["smallest_gap"] > 0.3


def test_half_lives_reach_factors_and_residuals():
    R = panel()
    risk = RiskSettings(factor_half_life=30.0, specific_half_life=60.0, specific_shrinkage=0.0)
    found = estimate(R, fixed(3), risk)
    weights = 0.5 ** (np.arange(249, -1, -1) / 30.0)
    np.testing.assert_allclose(found.model.Phi, 252 * np.cov(found.F.T, aweights=weights), rtol=1e-9)
    plain = estimate(R, fixed(3))
    np.testing.assert_array_equal(found.model.B, plain.model.B)
    assert not np.allclose(found.model.specific, plain.model.specific, rtol=1e-3)


@pytest.mark.parametrize(
    ("R", "settings", "field", "said"),
    [
        (panel(assets=5), fixed(5), "statistical.factor_count", "at most 4 factors"),
        (panel(periods=5), fixed(4), "statistical.factor_count", "at most 3 factors"),
        (panel(assets=5), fixed(0), "statistical.factor_count", "at least one"),
        (panel(factors=2, noise=0.0), fixed(4), "statistical.factor_count", "statistical_4"),
        (np.full((9, 3), 0.01), StatisticalSettings(), "returns", "no instrument moves"),
        (panel(assets=1), StatisticalSettings(), "statistical", "two that move"),
        (panel(periods=2), StatisticalSettings(), "statistical", "three returns"),
        (np.full((9, 3), np.nan), StatisticalSettings(), "returns[0][0]", "nan"),
        (panel(), StatisticalSettings("guess"), "statistical.count_rule", "guess"),
    ],
)
def test_refusals(R, settings, field, said):
    with pytest.raises(ProblemError, match=said) as refusal:
        estimate(R, settings)
    assert refusal.value.field == field
