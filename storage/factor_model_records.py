"""Stored factor models as frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.tables import Floats

Days = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorModelHead:
    """What is known of a factor model without its numbers by instrument and by day.

    Attributes:
        id: ``fm-`` and 32 hex digits of the SHA-256 of what it was estimated from.
        version: Of its name, from 1.
        kind: ``time_series``, ``cross_sectional`` or ``statistical``.
        specification: The request's specification as JSON of the contract, ids filled in.
        first_date, as_of: Of the window.
        factors, factor_kinds, definitions: (k,) names, kinds (``given``, ``market``, ``style``, ``industry``,
            ``statistical``) and sentences.
        summary: Further numbers and findings as JSON of the contract's FactorModel.
    """

    id: str
    name: str
    version: int
    created_at: datetime
    kind: str
    pricing_pack_id: str
    specification: Mapping[str, Any]
    first_date: date
    as_of: date
    observations: int
    factors: tuple[str, ...]
    factor_kinds: tuple[str, ...]
    definitions: tuple[str, ...]
    instrument_ids: tuple[str, ...]
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FactorModelNumbers:
    """The numbers of a factor model; all annual but `F`, read-only.

    Attributes:
        B: (n, k) exposures.
        Phi: (k, k) covariance of the factors.
        specific: (n,) variances.
        unshrunk: (n,) variances before shrinkage.
        alpha: (n,) mean returns that the factors leave.
        r_squared: (n,) shares explained.
        standard_errors: (n, k) of the exposures; None where they are given.
        dates: (T,) days of `F`.
        F: (T, k) simple returns of the factors per day.
        risk_free: (T,) return per day that was taken from those of the instruments; None = none was.
    """

    B: Floats
    Phi: Floats
    specific: Floats
    unshrunk: Floats
    alpha: Floats
    r_squared: Floats
    standard_errors: Floats | None
    dates: Days
    F: Floats
    risk_free: Floats | None


@dataclass(frozen=True, slots=True, eq=False)
class StoredFactorModel:
    """A factor model as it is stored."""

    head: FactorModelHead
    numbers: FactorModelNumbers
