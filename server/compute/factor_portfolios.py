"""Factor portfolios of a model, found in a solver process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernel.factors.mimicking import FactorPortfolios, factor_portfolios
from kernel.factors.model import FactorModel


@dataclass(frozen=True, slots=True)
class FoundPortfolios:
    """Factor portfolios and the (n,) instruments of their weights."""

    instrument_ids: tuple[str, ...]
    portfolios: FactorPortfolios


def run_factor_portfolios(model: FactorModel, instrument_ids: Sequence[str], factors: Sequence[str]) -> FoundPortfolios:
    """The portfolios of some factors, in some instruments; empty = all.

    Raises:
        ProblemError: No weights have exposure to a factor alone.
    """
    chosen = model.restricted(instrument_ids) if instrument_ids else model
    return FoundPortfolios(chosen.names, factor_portfolios(chosen, factors or None))
