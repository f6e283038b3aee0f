"""How many principal components are common factors: stated rules on the eigenvalues alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray
from kernel.estimation.marchenko_pastur import largest_of_noise

_LEAST = "two that move and three returns are needed"


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """The eigenvalues of a panel of returns.

    Attributes:
        eigenvalues: (min(n, T),) squared singular values of the centred returns over n T, falling; rounding is 0.
        assets: n.
        periods: T.
    """

    eigenvalues: FloatArray
    assets: int
    periods: int

    @property
    def rank(self) -> int:
        """Number of eigenvalues above 0."""
        return int(np.count_nonzero(self.eigenvalues))

    @property
    def largest_count(self) -> int:
        """The most components that leave a residual to the shape of the panel: min(n, T - 1) - 1."""
        return min(self.assets, self.periods - 1) - 1


def explained(spectrum: Spectrum) -> FloatArray:
    """(min(n, T),) share of the variance that the first 1, 2, ... components explain."""
    return np.asarray(np.cumsum(spectrum.eigenvalues) / spectrum.eigenvalues.sum(), dtype=np.float64)


def information_criteria(spectrum: Spectrum, largest: int) -> FloatArray:
    """The criterion IC_p2 of 0, 1, ... factors.

    IC_p2(k) = ln V(k) + k (n + T) / (n T) ln min(n, T),  V(k) = sum_(j>k) mu_j  (all sums from the smallest end)

    Args:
        spectrum: The eigenvalues mu_j.
        largest: The largest k.

    Returns:
        (largest + 1,) values; -inf where nothing is left unexplained.

    References:
        Bai & Ng (2002), Determining the number of factors in approximate factor models, Econometrica 70, section 5.
    """
    n, T = spectrum.assets, spectrum.periods
    tails = np.append(np.cumsum(spectrum.eigenvalues[::-1])[::-1], 0.0)[: largest + 1]
    with np.errstate(divide="ignore"):
        logarithms = np.log(tails)
    return np.asarray(logarithms + np.arange(largest + 1) * ((n + T) / (n * T) * math.log(min(n, T))))


def count_factors(spectrum: Spectrum, rule: str, wanted: int, share: float) -> int:
    """The number of factors by a rule.

    ``fixed``: as wanted. ``bai_ng``: the least IC_p2, up to half of min(n, T - 1).
    ``eigenvalue_ratio``: the largest mu_k / mu_(k+1) among eigenvalues not below their mean.
    ``marchenko_pastur``: eigenvalues of the correlations above (1 + sqrt(n / T))^2.
    ``explained_share``: the fewest with that share. All but ``fixed`` within the number wanted and the panel's shape.

    Args:
        spectrum: Of the returns; for ``marchenko_pastur`` of the returns divided by their standard deviations.
        rule: One of the five.
        wanted: The number, or the largest number, at least 1.
        share: For ``explained_share``, above 0 and below 1.

    Returns:
        k >= 1.

    Raises:
        ProblemError: An unknown rule, a number out of range, more factors than the returns have, or no factor found.

    References:
        Bai & Ng (2002); Ahn & Horenstein (2013), Eigenvalue ratio test for the number of factors, Econometrica 81;
        Marchenko & Pastur (1967).
    """
    if wanted < 1:
        raise ProblemError("statistical.factor_count", f"is {wanted}; at least one factor is needed")
    if rule == "fixed":
        return _fixed(spectrum, wanted)
    if rule not in _RULES and rule != "explained_share":
        raise ProblemError(
            "statistical.count_rule", f"is {rule}; known are fixed, explained_share, {', '.join(_RULES)}"
        )
    largest = min(wanted, spectrum.largest_count, spectrum.rank)
    if largest < 1:
        n, T = spectrum.assets, spectrum.periods
        raise ProblemError("statistical", f"{n} instruments with {T} returns have no common factor; {_LEAST}")
    if rule == "explained_share":
        return _explained_share(spectrum, largest, share)
    found = _RULES[rule](spectrum, largest)
    if found == 0:
        reason = f"{rule} finds no factor that the returns have in common; a number can be given with fixed"
        raise ProblemError("statistical.count_rule", reason)
    return found


def _fixed(spectrum: Spectrum, wanted: int) -> int:
    n, T = spectrum.assets, spectrum.periods
    if wanted > spectrum.largest_count:
        reason = f"is {wanted}; {n} instruments with {T} returns have at most {spectrum.largest_count} factors"
        raise ProblemError("statistical.factor_count", f"{reason}, one less than instruments and returns less one")
    if wanted > spectrum.rank:
        reason = f"the returns move in only {spectrum.rank} independent directions"
        raise ProblemError("statistical.factor_count", f"is {wanted}; {reason}, so statistical_{wanted} has none")
    return wanted


def _bai_ng(spectrum: Spectrum, largest: int) -> int:
    """Half are tried: what nearly all leave is so little that its logarithm outweighs every penalty."""
    half = max(1, min(spectrum.assets, spectrum.periods - 1) // 2)
    return int(np.argmin(information_criteria(spectrum, min(largest, half))))


def _eigenvalue_ratio(spectrum: Spectrum, largest: int) -> int:
    """Eigenvalues below the mean are noise, whose ratios grow without meaning where the spectrum ends."""
    values = np.append(spectrum.eigenvalues, 0.0)
    mean = spectrum.eigenvalues.sum() / min(spectrum.assets, spectrum.periods)
    candidates = max(1, min(largest, int(np.count_nonzero(spectrum.eigenvalues >= mean))))
    with np.errstate(divide="ignore"):
        return 1 + int(np.argmax(values[:candidates] / values[1 : candidates + 1]))


def _marchenko_pastur(spectrum: Spectrum, largest: int) -> int:
    """Noise of variance 1: freeing it from the factors first would take the spread of specific risks for factors."""
    n, T = spectrum.assets, spectrum.periods
    return min(largest, int(np.count_nonzero(spectrum.eigenvalues * n > largest_of_noise(1.0, n, T))))


def _explained_share(spectrum: Spectrum, largest: int, share: float) -> int:
    if not 0.0 < share < 1.0:
        raise ProblemError("statistical.explained_share", f"is {share:g}; it must be above 0 and below 1")
    shares = explained(spectrum)
    if shares[largest - 1] < share:
        reason = f"the largest number allowed, {largest}, explains {shares[largest - 1]:.3g} of the variance"
        raise ProblemError("statistical.explained_share", f"is {share:g}; {reason}")
    return 1 + int(np.argmax(shares >= share))


_RULES: dict[str, Callable[[Spectrum, int], int]] = {
    "bai_ng": _bai_ng,
    "eigenvalue_ratio": _eigenvalue_ratio,
    "marchenko_pastur": _marchenko_pastur,
}
