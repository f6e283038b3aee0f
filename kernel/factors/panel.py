"""What cross-sectional factor models are made of: prices, and what is known of the instruments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import LARGEST_RETURN, BoolArray, FloatArray, read_only

# Beyond these squares and sums would lose their digits, and no instrument has them.
_LARGEST_EXPOSURE = 1e6
_LEAST_CAP, _LARGEST_CAP = 1e-6, 1e30
# More instruments than this are counted in an error, not named.
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True, eq=False)
class LoadedExposures:
    """Exposures that were given, the same on every day.

    Attributes:
        factors: (g,) distinct names.
        B: (n, g) exposures in the order of the panel's instruments, without unit.
    """

    factors: tuple[str, ...]
    B: FloatArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Panel:
    """Prices of n instruments on T + 1 days and what is known of the instruments today; None = of none of them.

    Attributes:
        names: (n,) distinct instruments.
        closes: (T + 1, n) complete, above 0, the oldest first.
        caps: (n,) market capitalisations of the last day; one that is not above 0 is not known.
        sectors: (n,) sectors; empty = none.
        quality: (n,) scores; NaN = not known.
        given: Exposures that were loaded.

    Raises:
        ProblemError: Shapes do not fit, a name comes twice, a close is not above 0, or a number is absurdly large.
    """

    names: tuple[str, ...]
    closes: FloatArray
    caps: FloatArray | None = None
    sectors: tuple[str, ...] | None = None
    quality: FloatArray | None = None
    given: LoadedExposures | None = None

    def __post_init__(self) -> None:
        n = len(self.names)
        if n == 0 or self.closes.ndim != 2 or self.closes.shape[1] != n or len(self.closes) < 2:
            shape = f"the shape is {self.closes.shape}, there are {n} names"
            raise ProblemError("closes", f"must be two days or more of one instrument or more; {shape}")
        if len(set(self.names)) != n:
            raise ProblemError("instruments", "has a name twice")
        for field, column in (("caps", self.caps), ("sectors", self.sectors), ("quality", self.quality)):
            if column is not None and len(column) != n:
                raise ProblemError(field, f"has {len(column)} values for {n} instruments")
        self._check_closes()
        self._check_caps()
        self._check_given()

    def _check_closes(self) -> None:
        bad = np.any(~(np.isfinite(self.closes) & (self.closes > 0.0)), axis=0)
        if bad.any():
            raise ProblemError(f"closes[{self.some(bad)}]", "must be known and above 0 on every day")
        large = self.returns.max(axis=0) > LARGEST_RETURN
        if large.any():
            raise ProblemError(f"closes[{self.some(large)}]", f"has a daily return above {LARGEST_RETURN:g}")

    def _check_caps(self) -> None:
        if self.caps is None:
            return
        bad = (self.caps > 0.0) & ~((self.caps >= _LEAST_CAP) & (self.caps <= _LARGEST_CAP))
        if bad.any():
            reason = f"must be within {_LEAST_CAP:g} and {_LARGEST_CAP:g} where it is known"
            raise ProblemError(f"caps[{self.some(bad)}]", reason)

    def _check_given(self) -> None:
        if self.given is None:
            return
        shape = (len(self.names), len(self.given.factors))
        if self.given.B.shape != shape:
            raise ProblemError("given", f"has shape {self.given.B.shape}, names say {shape}")
        for factor, exposures in zip(self.given.factors, self.given.B.T, strict=True):
            if (bad := ~(np.abs(exposures) <= _LARGEST_EXPOSURE)).any():
                reason = f"the exposure of {self.some(bad)} is not finite and within {_LARGEST_EXPOSURE:g}"
                raise ProblemError(f"factors[{factor}]", reason)

    @property
    def returns(self) -> FloatArray:
        """(T, n) simple returns per day."""
        growth: FloatArray = self.closes[1:] / self.closes[:-1]
        return growth - 1.0

    @property
    def without_cap(self) -> BoolArray:
        """(n,) whether the market capitalisation is not known."""
        if self.caps is None:
            return np.ones(len(self.names), dtype=np.bool_)
        return ~(self.caps > 0.0)

    @property
    def without_quality(self) -> BoolArray:
        """(n,) whether the quality score is not known."""
        if self.quality is None:
            return np.ones(len(self.names), dtype=np.bool_)
        return ~np.isfinite(self.quality)

    def caps_by_day(self) -> FloatArray | None:
        """(T + 1, n) market capitalisations: today's, moved back by the price; None unless all are known."""
        if self.caps is None or self.without_cap.any():
            return None
        caps: FloatArray = self.caps * (self.closes / self.closes[-1])
        return caps

    def shares_by_day(self) -> FloatArray:
        """(T + 1, n) shares of the market by capitalisation, each day's with sum 1; all alike unless all are known."""
        caps = self.caps_by_day()
        if caps is None:
            return np.full(self.closes.shape, 1.0 / len(self.names))
        return read_only(caps / caps.sum(axis=1, keepdims=True))

    def some(self, which: BoolArray) -> str:
        """The first names of those that are marked, and how many more there are."""
        return listed(name for name, marked in zip(self.names, which, strict=True) if marked)


def listed(names: Iterable[str]) -> str:
    """The first of the names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - _MOST_NAMED} more" if len(every) > _MOST_NAMED else ""
    return ", ".join(every[:_MOST_NAMED]) + more
