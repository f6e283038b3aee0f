"""Daily cross-sections against constrained least squares of other makes, and what identifies a factor."""

import cvxpy as cp
import numpy as np
import pytest
import statsmodels.api as sm

from kernel.errors import ProblemError
from kernel.factors.cross_section import CrossSection, fit_sections

T, N = 8, 30
SECTORS = ("Energy", "Health", "Tech", "Utilities")


def section_of(seed=0, *, market=True, styles=2, industries=True, given=1):
    """T + 1 days of random exposures."""
    rng = np.random.default_rng(seed)
    sector = np.arange(N) % len(SECTORS)
    caps = np.exp(rng.normal(0.0, 1.0, (T + 1, N)))
    return CrossSection(
        market=market or industries,
        style_names=("size", "beta")[:styles],
        styles=rng.standard_normal((styles, T + 1, N)),
        industry_names=SECTORS if industries else (),
        industries=np.eye(len(SECTORS))[sector] if industries else np.zeros((N, 0)),
        given_names=("rates", "oil")[:given],
        given=rng.normal(1.0, 1.0, (N, given)),
        shares=caps / caps.sum(axis=1, keepdims=True),
    )


def data_of(seed=1):
    rng = np.random.default_rng(seed)
    return 0.01 * rng.standard_normal((T, N)), rng.uniform(0.2, 5.0, (T, N))


def condition(section, day):
    """(k,) the row C of C f = 0: capitalisations of the sectors."""
    row = np.zeros(len(section.factors))
    for j, name in enumerate(section.industry_names):
        row[section.factors.index(name)] = section.shares[day] @ section.industries[:, j]
    return row


def constrained(section, day, r, v):
    """Weighted least squares under the condition by its Lagrangian: factor returns and their inverse normal matrix."""
    X, C = section.exposures(day), condition(section, day)
    k = len(C)
    if not section.industry_names:
        inverse = np.linalg.inv(X.T @ (X * v[:, np.newaxis]))
        return inverse @ (X.T @ (v * r)), inverse
    system = np.block([[X.T @ (X * v[:, np.newaxis]), C[:, np.newaxis]], [C[np.newaxis], np.zeros((1, 1))]])
    inverse = np.linalg.inv(system)
    return (inverse @ np.append(X.T @ (v * r), 0.0))[:k], inverse[:k, :k]


CASES = [
    {},
    {"given": 0},
    {"styles": 0},
    {"industries": False},
    {"styles": 0, "given": 0},
    {"market": False, "styles": 0, "industries": False, "given": 2},
]


@pytest.mark.parametrize("case", CASES)
def test_factor_returns_are_those_of_the_lagrangian(case):
    section, (R, V) = section_of(**case), data_of()
    fit = fit_sections(section, R, V)
    for t in range(T):
        f, _ = constrained(section, t, R[t], V[t])
        np.testing.assert_allclose(fit.F[t], f, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(fit.residuals[t], R[t] - section.exposures(t) @ f, atol=1e-14)


def test_factor_returns_are_those_of_statsmodels_with_the_condition_imposed():
    section, (R, V) = section_of(), data_of()
    fit = fit_sections(section, R, V)
    for t in range(T):
        model = sm.GLM(R[t], section.exposures(t), family=sm.families.Gaussian(), var_weights=V[t])
        expected = model.fit_constrained((condition(section, t)[np.newaxis], np.zeros(1)))
        np.testing.assert_allclose(fit.F[t], expected.params, rtol=1e-10, atol=1e-13)


def test_factor_returns_solve_the_programme_as_it_is_written():
    section, (R, V) = section_of(), data_of()
    fit = fit_sections(section, R, V)
    for t in (0, T - 1):
        f = cp.Variable(len(section.factors))
        misfit = cp.sum(cp.multiply(V[t], cp.square(100.0 * R[t] - section.exposures(t) @ f)))
        cp.Problem(cp.Minimize(misfit), [condition(section, t) @ f == 0]).solve(solver=cp.CLARABEL)
        np.testing.assert_allclose(100.0 * fit.F[t], f.value, atol=1e-6)


@pytest.mark.parametrize("case", [{"styles": 0}, {"styles": 0, "industries": False}])
def test_one_factorisation_for_all_days_equals_one_for_each(case):
    section, (R, V) = section_of(**case), data_of()
    once, daily = fit_sections(section, R, V[0]), fit_sections(section, R, np.tile(V[0], (T, 1)))
    np.testing.assert_allclose(once.F, daily.F, rtol=1e-11, atol=1e-16)
    np.testing.assert_allclose(once.residuals, daily.residuals, atol=1e-16)
    assert once.r_squared == pytest.approx(daily.r_squared, rel=1e-12)


def test_returns_of_the_sectors_add_up_to_zero_by_capitalisation():
    section, (R, V) = section_of(), data_of()
    F = fit_sections(section, R, V).F
    totals = [condition(section, t) @ F[t] for t in range(T)]
    np.testing.assert_allclose(totals, 0.0, atol=1e-17)


@pytest.mark.parametrize("case", CASES)
def test_a_factor_portfolio_earns_its_factor_and_no_other(case):
    section, (_, V) = section_of(**case), data_of()
    day = section.weighted(3, V[3])
    P = day.factor_returns(day.coefficients(np.eye(N)))
    moved = np.random.default_rng(5).standard_normal((len(section.factors), 6))
    C = condition(section, 3)
    if C.any():
        moved -= np.outer(C, C @ moved) / (C @ C)
    np.testing.assert_allclose(P @ section.exposures(3) @ moved, moved, atol=1e-12)
    if not section.industry_names:
        np.testing.assert_allclose(P @ section.exposures(3), np.eye(len(section.factors)), atol=1e-12)


def test_the_market_portfolio_holds_the_sectors_by_capitalisation():
    section, (_, V) = section_of(styles=0, given=0), data_of()
    day = section.weighted(0, V[0])
    P = day.factor_returns(day.coefficients(np.eye(N)))
    np.testing.assert_allclose(P[0] @ section.industries, section.shares[0] @ section.industries, rtol=1e-12)
    assert P[0].sum() == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(P[1:].sum(axis=1), 0.0, atol=1e-14)


def test_cross_section_r_squared_is_the_mean_over_days_about_zero():
    section, (R, V) = section_of(), data_of()
    expected = []
    for t in range(T):
        u = R[t] - section.exposures(t) @ constrained(section, t, R[t], V[t])[0]
        expected.append(1.0 - np.sum(V[t] * u * u) / np.sum(V[t] * R[t] ** 2))
    assert fit_sections(section, R, V).r_squared == pytest.approx(np.mean(expected), rel=1e-12)
    R[2] = 0.0
    expected.pop(2)
    assert fit_sections(section, R, V).r_squared == pytest.approx(np.mean(expected), rel=1e-12)
    assert fit_sections(section, np.zeros_like(R), V).r_squared == 0.0


def test_scale_of_weights_and_returns():
    section, (R, V) = section_of(), data_of()
    fit = fit_sections(section, R, V)
    np.testing.assert_allclose(fit_sections(section, R, 1e8 * V).F, fit.F, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(fit_sections(section, 64.0 * R, V).F, 64.0 * fit.F, rtol=1e-12, atol=1e-15)


def alone(section, day, v):
    """(k,) variances of the factors' returns in regressions on the market and one factor, written out by hand."""
    X, w = section.exposures(day), section.shares[day]
    variances = []
    for k, name in enumerate(section.factors):
        columns = [X[:, k]] if name == "market" or not section.market else [np.ones(N), X[:, k]]
        inverse = np.linalg.inv(np.array([[np.sum(v * a * b) for a in columns] for b in columns]))
        share = w @ X[:, k]
        variances.append(inverse[-1, -1] * ((1.0 - share) ** 2 if name in section.industry_names else 1.0))
    return np.array(variances)


@pytest.mark.parametrize("case", CASES)
def test_variance_inflation_is_the_variance_over_that_of_the_factor_alone(case):
    section, (_, V) = section_of(**case), data_of()
    inflation = section.weighted(2, V[2]).variance_inflation()
    full = np.diag(constrained(section, 2, np.zeros(N), V[2])[1])
    np.testing.assert_allclose(inflation, full / alone(section, 2, V[2]), rtol=1e-9)
    assert (inflation >= 1.0).all()


def test_orthogonal_styles_inflate_nothing():
    rows = np.array([[1, 1, -1, -1] * 5, [1, -1, 1, -1] * 5], dtype=float)
    section = CrossSection(
        market=True,
        style_names=("a", "b"),
        styles=rows[:, np.newaxis],
        industry_names=(),
        industries=np.zeros((20, 0)),
        given_names=(),
        given=np.zeros((20, 0)),
        shares=np.full((1, 20), 0.05),
    )
    day = section.weighted(0, np.ones(20))
    np.testing.assert_allclose(day.variance_inflation(), 1.0, rtol=1e-14)
    assert day.condition_number() == pytest.approx(1.0, rel=1e-14)


def test_condition_number_is_that_of_the_scaled_columns():
    section, (_, V) = section_of(), data_of()
    H = section.exposures(1)[:, 1:] * np.sqrt(V[1])[:, np.newaxis]
    expected = np.linalg.cond(H / np.linalg.norm(H, axis=0))
    assert section.weighted(1, V[1]).condition_number() == pytest.approx(expected, rel=1e-10)


def with_given(section, exposures):
    return CrossSection(
        market=section.market,
        style_names=section.style_names,
        styles=section.styles,
        industry_names=section.industry_names,
        industries=section.industries,
        given_names=("loaded",),
        given=exposures[:, np.newaxis],
        shares=section.shares,
    )


@pytest.mark.parametrize("industries", [True, False])
@pytest.mark.parametrize(
    ("make", "others"),
    [
        (lambda s: np.full(N, 2.0), "market"),
        (lambda s: s.styles[1, 0] - 3.0, "market, beta"),
        (lambda s: 0.5 * s.styles[0, 0], "size"),
    ],
)
def test_collinear_exposures_are_refused_by_name(make, others, industries):
    section, (R, V) = section_of(industries=industries), data_of()
    with pytest.raises(ProblemError) as error:
        fit_sections(with_given(section, make(section)), R, V)
    assert error.value.field == "factors[loaded]"
    assert error.value.reason == f"is a linear combination of {others} over the instruments"


def test_a_loaded_factor_that_is_a_sector_is_refused_by_its_name():
    section, (R, V) = section_of(), data_of()
    with pytest.raises(ProblemError, match=r"factors\[loaded\]: is a linear combination of Health over"):
        fit_sections(with_given(section, section.industries[:, 1]), R, V)
    with pytest.raises(ProblemError, match=r"factors\[loaded\]: is 0 for all instruments"):
        fit_sections(with_given(section, np.zeros(N)), R, V)


def test_exposures_that_are_collinear_on_one_day_only_are_refused():
    section, (R, V) = section_of(given=0), data_of()
    section.styles[1, 5] = 2.0 * section.styles[0, 5]
    with pytest.raises(ProblemError, match=r"factors\[beta\]: is a linear combination of size"):
        fit_sections(section, R, V)
