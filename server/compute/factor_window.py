"""The days that assets and factors have in common, for models of factors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.factors.window import FactorDesign, FactorHistory, factor_design
from server.compute.inputs import Floats, MarketInputs
from server.errors import NotReady


@dataclass(frozen=True, slots=True)
class FactorWindow:
    """Returns (T, n) of the assets on the days of the factors."""

    set_id: str
    R: Floats
    design: FactorDesign


def factor_window(inputs: MarketInputs, set_id: str, returns: Floats) -> FactorWindow:
    """Assets and factors on the days that both have.

    Args:
        inputs: Has the factor set under the id that the model names.
        set_id: That id.
        returns: (T, n) of the whole window.

    Raises:
        NotReady: They have too few days in common.
        ProblemError: A factor is constant or a combination of others.
    """
    factors = inputs.factor_sets[set_id]
    complete = np.isfinite(factors.F).all(axis=1)
    days, rows, factor_rows = np.intersect1d(
        inputs.dates[1:], factors.dates[complete], assume_unique=True, return_indices=True
    )
    needed = len(factors.names) + 2
    if len(days) < needed:
        found = f"the window and factor set {factors.id} have {len(days)} days in common"
        raise NotReady(f"{found}, {needed} are needed")
    history = FactorHistory(factors.names, factors.F[np.flatnonzero(complete)[factor_rows]])
    return FactorWindow(factors.id, returns[rows], factor_design(history))
