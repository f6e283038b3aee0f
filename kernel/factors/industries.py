"""Sectors as factors of a cross-sectional model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernel.estimation.arrays import FloatArray, read_only

NO_SECTOR = "no sector"


@dataclass(frozen=True, slots=True, eq=False)
class Industries:
    """Which sector every instrument is in.

    Attributes:
        names: (m,) sectors in alphabetical order; `NO_SECTOR` is one of them where an instrument has none.
        X: (n, m) exposures: 1 to the instrument's sector, 0 to all others. Read-only.
    """

    names: tuple[str, ...]
    X: FloatArray


def industries_of(sectors: Sequence[str]) -> Industries:
    """Sectors as factors. Instruments without one are together in a sector of their own: the market is the sum of all.

    Args:
        sectors: (n,) sectors; empty = none.

    Returns:
        The exposures.

    References:
        Heston & Rouwenhorst (1994), Does industrial structure explain the benefits of international diversification?,
        Journal of Financial Economics 36, section 2.
    """
    named = [sector or NO_SECTOR for sector in sectors]
    names = tuple(sorted(set(named)))
    X = np.array([[1.0 if sector == name else 0.0 for name in names] for sector in named])
    return Industries(names, read_only(X))


def industry_definition(name: str, members: Sequence[str]) -> str:
    """One sentence that says what an industry factor is.

    Args:
        name: The sector.
        members: Its instruments, one at least.
    """
    every = "Instruments without a sector" if name == NO_SECTOR else f"Instruments of the sector {name}"
    single = f"; the only one is {members[0]}, whose specific part is in this factor" if len(members) == 1 else ""
    return f"{every} have exposure 1, all others 0{single}."
