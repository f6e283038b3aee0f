"""What must hold of every factor analysis, and independent figures beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Floats = npt.NDArray[np.float64]

TOLERANCE = 1e-12


def adds_up(answer: Any) -> None:
    """Every total of an answer is the sum of its parts, in the numbers as they came."""
    close = _closeness(answer)
    assert sum_of(answer.attribution, "contribution") == close(answer.total_return)
    if answer.total_return:
        assert sum_of(answer.attribution, "percent_contribution") == pytest.approx(100.0, abs=1e-8)
    for row in answer.exposures:
        assert row.active_exposure == row.exposure - row.benchmark_exposure
        assert row.HasField("t_statistic") == (row.standard_error > 0)
        assert row.definition
        assert row.variance_inflation >= 1
    _risk_adds_up(answer.risk)
    _returns_add_up(answer)
    weighted = answer.benchmark_basis == 1
    assert answer.HasField("active_risk") == answer.HasField("sector_attribution") == weighted
    if weighted:
        _risk_adds_up(answer.active_risk)
        _sectors_add_up(answer)
    assert 0 <= answer.reconciliation <= TOLERANCE
    assert answer.residual == answer.total_return - sum_of(answer.attribution, "contribution")


def sum_of(rows: Iterable[Any], field: str) -> float:
    return math.fsum(getattr(row, field) for row in rows)


def _closeness(answer: Any) -> Any:
    """Within the difference that an answer admits, and the rounding of the comparison itself."""
    return lambda value: pytest.approx(value, rel=0, abs=answer.reconciliation + 3e-16 * (1 + abs(value)))


def _risk_adds_up(risk: Any) -> None:
    close = {"rel": 0, "abs": 1e-14}
    assert risk.factor_contribution + risk.specific_contribution == pytest.approx(risk.volatility, **close)
    assert sum_of(risk.factors, "contribution") == pytest.approx(risk.factor_contribution, **close)
    assert 0 <= risk.residual <= TOLERANCE
    for part in risk.factors:
        if part.factor != "other_factors":
            expected = part.exposure * part.factor_volatility * part.correlation
            assert part.contribution == pytest.approx(expected, **close)
    if risk.instruments:
        assert sum_of(risk.instruments, "contribution") == pytest.approx(risk.volatility, **close)
        assert sum_of(risk.instruments, "specific_contribution") == pytest.approx(risk.specific_contribution, **close)
        assert sum_of(risk.instruments, "percent") == pytest.approx(100.0, abs=1e-9)


def _returns_add_up(answer: Any) -> None:
    found, close = answer.return_attribution, _closeness(answer)
    assert found.linking == "carino"
    assert sum_of(found.parts, "portfolio") == close(found.portfolio_return)
    assert found.HasField("benchmark_return") == bool(answer.benchmark_basis)
    if found.HasField("benchmark_return"):
        assert sum_of(found.parts, "benchmark") == close(found.benchmark_return)
        assert sum_of(found.parts, "active") == close(found.active_return)
        assert found.active_return == found.portfolio_return - found.benchmark_return


def _sectors_add_up(answer: Any) -> None:
    found, close = answer.sector_attribution, _closeness(answer)
    for effect in ("allocation", "selection", "interaction"):
        assert sum_of(found.sectors, effect) == close(getattr(found, effect))
    assert math.fsum([found.allocation, found.selection, found.interaction]) == close(found.active_return)
    assert found.active_return == close(answer.return_attribution.active_return)


def carino(parts: Mapping[str, Floats], returns: Floats) -> dict[str, float]:
    """Parts of daily returns linked by Carino (1999), from the formula."""
    total = math.prod(1.0 + r for r in returns.tolist()) - 1.0
    whole = math.log1p(total) / total
    return {
        name: math.fsum(math.log1p(r) / r / whole * part for r, part in zip(returns.tolist(), daily, strict=True) if r)
        for name, daily in parts.items()
    }


def carino_active(parts: Mapping[str, Floats], r: Floats, b: Floats) -> dict[str, float]:
    """Parts of daily differences linked by Carino (1999), from the formula."""
    R, B = (math.prod(1.0 + x for x in series.tolist()) - 1.0 for series in (r, b))
    whole = (math.log1p(R) - math.log1p(B)) / (R - B)
    factors = (np.log1p(r) - np.log1p(b)) / (r - b) / whole
    return {name: math.fsum((factors * daily).tolist()) for name, daily in parts.items()}


def brinson(W: Floats, v: Floats, R: Floats, sectors: Sequence[str]) -> dict[str, list[Floats]]:
    """Daily allocation, selection and interaction of sectors that both sides hold, in the order of Brinson."""
    b = R @ v
    found = {}
    for name in sorted(set(sectors)):
        mask = np.array([sector == name for sector in sectors])
        w_s, v_s = W[:, mask].sum(axis=1), v[mask].sum()
        r_s, s_s = (W[:, mask] * R[:, mask]).sum(axis=1) / w_s, R[:, mask] @ v[mask] / v_s
        found[name] = [(w_s - v_s) * (s_s - b), v_s * (r_s - s_s), (w_s - v_s) * (r_s - s_s)]
    return found
