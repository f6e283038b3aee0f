"""The shared transcriptions of published tables, where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernel.canonical import Matrix
from kernel.constraints import LinearLimit, WeightBounds, budget
from kernel.measures import Volatility
from kernel.objectives import MinimizeRisk, Objective
from kernel.problem import Moments, Problem

SHARED = Path(__file__).resolve().parents[3] / "shared"


def paper(name: str) -> dict[str, Any]:
    """One transcription; the test is skipped where the shared folder is absent."""
    path = SHARED / "goldens" / "papers" / f"{name}.json"
    if not path.exists():
        pytest.skip(f"the shared transcription {path.name} is not beside the project")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def moments_of(mean: list[float], cov: list[list[float]] | Matrix) -> Moments:
    """Moments of anonymous assets; products that were transcribed with rounding are made exactly symmetric."""
    Sigma = np.array(cov, dtype=float)
    return Moments(tuple(f"A{i}" for i in range(len(mean))), np.array(mean, dtype=float), (Sigma + Sigma.T) / 2)


def problem_of(
    moments: Moments, objective: Objective | None = None, *more: LinearLimit, lower: float = 0.0, upper: float = 1.0
) -> Problem:
    """Fully invested, all weights between two bounds."""
    n = moments.n
    bounds = WeightBounds(np.full(n, lower), np.full(n, upper), ("min",) * n, ("max",) * n)
    return Problem(moments, objective or MinimizeRisk(), Volatility(moments), (budget(n), bounds, *more))
