"""Properties of factor analyses, computed without a service."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import ProblemError
from server.compute.factor_inputs import FactorInputs
from server.compute.factors import run_factors
from server.compute.holdings import Account
from server.compute.inputs import Asset, BenchmarkInputs, FactorReturns, MarketInputs
from server.convert.factor_answers import write_factors
from server.factor_specs import (
    CrossSectionalSpec,
    FactorModelSpec,
    FactorSpec,
    KindSpec,
    StatisticalSpec,
    TimeSeriesSpec,
)

Floats = npt.NDArray[np.float64]
T, N = 90, 7
SECTORS = ("x", "y", "x", "", "y", "x", "z")
KINDS: dict[str, KindSpec] = {
    "regression": TimeSeriesSpec(),
    "huber": TimeSeriesSpec(estimator="huber"),
    "components": StatisticalSpec(count_rule="fixed", factor_count=2),
    "styles": CrossSectionalSpec(styles=("volatility",), industries=False),
}


def inputs(
    quantities: Floats, *, cash: float = 500.0, kind: str = "regression", seed: int = 5, **changes: Any
) -> FactorInputs:
    """A market drawn at random with two factors."""
    random = np.random.default_rng(seed)
    F = random.normal(0.0003, 0.01, (T, 2))
    R = F @ random.normal(0.7, 0.4, (2, N)) + random.normal(0.0, 0.012, (T, N))
    closes = 50.0 * np.vstack([np.ones(N), np.cumprod(1.0 + R, axis=0)])
    dates = np.busday_offset("2021-01-04", np.arange(T + 1))
    names = tuple(f"I{k}" for k in range(N))
    assets = tuple(Asset(name, sector, "equity", 1e9) for name, sector in zip(names, SECTORS, strict=True))
    value = float(quantities @ closes[-1]) + cash
    market = MarketInputs(
        portfolio_id="p",
        pricing_pack_id="pp",
        assets=assets,
        dates=dates,
        closes=closes,
        w0=quantities * closes[-1] / value,
        cash_weight=cash / value,
        value=Decimal(value),
    )
    plain = {
        "spec": FactorSpec("p", include_instruments=True, model=FactorModelSpec(KINDS[kind])),
        "market": market,
        "account": Account(tuple(map(Decimal, quantities.tolist())), Decimal(cash)),
        "stored": None,
        "model": FactorModelSpec(KINDS[kind]),
        "factors": FactorReturns("fs", ("f", "g"), dates[1:], F),
        "risk_free_rate": 0.03,
    }
    return FactorInputs(**{**plain, **changes})


def analysed(given_inputs: FactorInputs) -> Any:
    return write_factors(run_factors(given_inputs), given_inputs)


def with_benchmark(given_inputs: FactorInputs, weights: Floats) -> FactorInputs:
    market = given_inputs.market
    benchmark = BenchmarkInputs("b", weights=dict(zip(market.ids, weights.tolist(), strict=True)))
    return replace(given_inputs, market=replace(market, benchmark=benchmark))


LONG = np.array([10.0, 3.0, 0.0, 5.0, 8.0, 1.0, 2.0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_portfolio_like_its_benchmark_has_no_active_numbers(kind: str) -> None:
    """All but the cash, which a benchmark without a sum of one holds too."""
    plain = inputs(LONG, kind=kind)
    answer = analysed(with_benchmark(plain, plain.market.w0))
    assert answer.benchmark_basis == 1
    assert all(row.active_exposure == pytest.approx(0.0, abs=1e-15) for row in answer.exposures)
    assert answer.active_risk.volatility == pytest.approx(0.0, abs=1e-12)
    assert answer.return_attribution.active_return == pytest.approx(0.0, abs=1e-15)
    assert all(part.active == pytest.approx(0.0, abs=1e-14) for part in answer.return_attribution.parts)
    effects = [row.allocation + row.selection + row.interaction for row in answer.sector_attribution.sectors]
    assert effects == pytest.approx([0.0] * len(effects), abs=1e-14)
    assert answer.reconciliation <= 1e-14


@pytest.mark.parametrize("kind", KINDS)
@given(order=st.permutations(range(N)))
@settings(max_examples=8, deadline=None)
def test_the_order_of_instruments_changes_nothing(kind: str, order: list[int]) -> None:
    weights = np.full(N, 1.0 / N)
    plain = with_benchmark(inputs(LONG, kind=kind), weights)
    market = plain.market
    turned = replace(
        plain,
        market=replace(
            market,
            assets=tuple(market.assets[k] for k in order),
            closes=market.closes[:, order],
            w0=market.w0[order],
        ),
        account=replace(plain.account, quantities=tuple(plain.account.quantities[k] for k in order)),
    )
    first, second = analysed(plain), analysed(turned)
    assert [row.instrument_id for row in first.instruments] == [row.instrument_id for row in second.instruments]
    for rows, field in (
        (lambda answer: answer.exposures, "exposure"),
        (lambda answer: answer.exposures, "active_standard_error"),
        (lambda answer: answer.attribution, "contribution"),
        (lambda answer: answer.instruments, "weight"),
        (lambda answer: answer.active_risk.instruments, "contribution"),
        (lambda answer: answer.return_attribution.parts, "active"),
        (lambda answer: answer.sector_attribution.sectors, "selection"),
    ):
        mine, other = ([getattr(row, field) for row in rows(answer)] for answer in (first, second))
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-12)


@given(
    quantities=st.lists(st.floats(-20, 20), min_size=N, max_size=N),
    basis=st.sampled_from(["current_weights", "current_shares"]),
)
@settings(max_examples=40, deadline=None)
def test_all_totals_are_the_sums_of_their_parts(quantities: list[float], basis: str) -> None:
    """Long, short and borrowed: whatever is held is taken apart without a rest."""
    held = np.round(np.array(quantities), 6)
    if not held.any():
        held[0] = 1.0
    plain = inputs(held, cash=60_000.0)
    spec = replace(plain.spec, holdings_basis=basis)
    answer = analysed(with_benchmark(replace(plain, spec=spec), np.full(N, 1.0 / N)))
    assert answer.reconciliation <= 1e-12
    assert abs(answer.residual) <= 1e-15
    x = sum(row.weight * np.array(row.exposures) for row in answer.instruments)
    np.testing.assert_allclose([row.exposure for row in answer.exposures], x, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_twice_the_weights_have_twice_the_exposures(kind: str) -> None:
    """Borrowing to hold twice as much of everything doubles exposures, their errors and the risk."""
    single = inputs(LONG, cash=0.0, kind=kind)
    worth = float(LONG @ single.market.closes[-1])
    first, second = analysed(single), analysed(inputs(2.0 * LONG, cash=-worth, kind=kind))
    for mine, other in zip(first.exposures, second.exposures, strict=True):
        assert other.exposure == pytest.approx(2.0 * mine.exposure, rel=1e-10)
        assert other.standard_error == pytest.approx(2.0 * mine.standard_error, rel=1e-9)
    assert second.risk.volatility == pytest.approx(2.0 * first.risk.volatility, rel=1e-10)
    assert second.r_squared == pytest.approx(first.r_squared, rel=1e-9)
    (interest,) = [part for part in second.attribution if part.factor == "cash"]
    assert interest.contribution == pytest.approx(-0.03)


def test_a_return_that_loses_everything_is_refused_by_its_day() -> None:
    wild = np.array([400.0, -380.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    plain = inputs(wild, cash=0.0)
    cash = 30.0 - float(wild @ plain.market.closes[-1])
    with pytest.raises(ProblemError, match=r"on 20\d\d-\d\d-\d\d") as caught:
        run_factors(inputs(wild, cash=cash))
    assert caught.value.field == "portfolio"
