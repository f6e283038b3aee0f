"""Factor portfolios: exposure one to one factor, none to the others, and as little else as possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray, read_only
from kernel.factors.model import FactorModel

# Of the largest singular value: exposures that differ by less are combinations of each other up to rounding.
_RANK_TOLERANCE = 1e-9
# Part of a wanted exposure that no weights reach; more than rounding leaves.
_OUT_OF_REACH = 1e-7
# Share of a factor's variance that its portfolio may miss where exposure to the factor alone is out of reach.
_LARGEST_MISS = 0.1
# Of the largest specific variance: less counts as none, so that its inverse drowns nothing.
_NO_SPECIFIC = 1e-12
# Other factors with a smaller coefficient are not named as part of a combination.
_NAMED_COEFFICIENT = 1e-6


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FactorPortfolios:
    """Portfolios of m factors; their weights need not add up to anything and are financed by cash.

    Attributes:
        factors: (m,) names, in the order asked for.
        W: (n, m) weights.
        exposures: (k, m) measured on the weights.
        volatilities: (m,) by the model, annual.
        specific_volatilities: (m,) the specific part, annual; the total squared less that of the exposures.
        gross: (m,) sums of absolute weights.
        net: (m,) sums of weights.
    """

    factors: tuple[str, ...]
    W: FloatArray
    exposures: FloatArray
    volatilities: FloatArray
    specific_volatilities: FloatArray
    gross: FloatArray
    net: FloatArray


def factor_portfolios(model: FactorModel, factors: Sequence[str] | None = None) -> FactorPortfolios:
    """The portfolios of least specific variance with exposure one to a factor and zero to all others.

        min w'Dw  s.t.  B'w = e_k,   w = D^-1 B (B'D^-1 B)^-1 e_k

    On all w with these exposures the factors' part of the variance is e_k'Phi e_k, so that the least specific variance
    is the least variance as well. Assets without specific variance (D_ii = 0) provide what exposure they can for
    nothing; among them weights are least in square, which is the limit of D_ii = epsilon.

    Where the exposures to a factor are a combination of those to others, as the market's are of the industries', no
    weights have exposure to it alone. Then B'w = y with the y within reach whose return is nearest to the factor's,
    min (y - e_k)'Phi (y - e_k), among those without exposure to the factors that have no part in a combination. For
    market and industries, whose returns weighted by market capitalisation add up to zero, these are the portfolios of
    the constrained regression: the market's has the industries at their weights. They miss little of the factor's
    variance, as much as these weights have changed over the window.

    Args:
        model: Of the assets to choose from.
        factors: The factors whose portfolios are wanted; None = all.

    Returns:
        The portfolios, with exposures measured on the weights.

    Raises:
        ProblemError: There is no asset, a factor is not in the model or asked for twice, or no weights come near the
            factor alone: more than a tenth of its variance would be missed. It is named.

    References:
        Grinold & Kahn (2000), Active Portfolio Management, chapter 3; Menchero, Orr & Wang (2011), The Barra US equity
        model USE4, section 3; Golub & Van Loan (2013), section 6.1.
    """
    wanted = _places(model, factors)
    reach = _reach(model)
    W = _least_specific(reach.exposures, model.specific, _targets(model, wanted, reach))
    exposures = model.B.T @ W
    specific = np.maximum(np.einsum("im,i,im->m", W, model.specific, W), 0.0)
    common = np.maximum(np.einsum("km,kl,lm->m", exposures, model.Phi, exposures), 0.0)
    return FactorPortfolios(
        factors=tuple(model.factors[place] for place in wanted),
        W=read_only(W),
        exposures=read_only(exposures),
        volatilities=read_only(np.sqrt(common + specific)),
        specific_volatilities=read_only(np.sqrt(specific)),
        gross=read_only(np.abs(W).sum(axis=0)),
        net=read_only(W.sum(axis=0)),
    )


def _places(model: FactorModel, factors: Sequence[str] | None) -> list[int]:
    place = {name: column for column, name in enumerate(model.factors)}
    wanted = model.factors if factors is None else tuple(factors)
    for position, name in enumerate(wanted):
        if name not in place:
            raise ProblemError(f"factors[{name}]", f"is not in the model; it has {', '.join(model.factors)}")
        if name in wanted[:position]:
            raise ProblemError(f"factors[{name}]", "is given twice")
    return [place[name] for name in wanted]


@dataclass(frozen=True, slots=True, eq=False)
class _Reach:
    """The exposures that weights can have: B'w = y exactly where y / scales lies in the span of the basis.

    Attributes:
        scales: (k,) sizes of the columns of B, so that its rank does not depend on units; 1 for a column of zeros.
        basis: (r, k) orthonormal.
        exposures: (n, r) of the assets, along the basis; of full column rank.
    """

    scales: FloatArray
    basis: FloatArray
    exposures: FloatArray


def _reach(model: FactorModel) -> _Reach:
    if not model.names:
        raise ProblemError("instruments", "there is none to choose from")
    sizes = np.linalg.norm(model.B, axis=0)
    scales = np.where(sizes > 0.0, sizes, 1.0)
    scaled = model.B / scales
    _, values, rows = np.linalg.svd(scaled, full_matrices=False)
    basis = rows[: int(np.sum(values > _RANK_TOLERANCE * values[0]))]
    return _Reach(scales, basis, scaled @ basis.T)


def _targets(model: FactorModel, wanted: Sequence[int], reach: _Reach) -> FloatArray:
    """(r, m) wanted exposures along the basis; refuses factors that are out of reach."""
    units = (np.eye(len(model.factors)) / reach.scales[:, None])[:, wanted]
    targets = reach.basis @ units
    missed = units - reach.basis.T @ targets
    tied = _tied(reach)
    values, vectors = np.linalg.eigh(model.Phi)
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T * reach.scales
    for column, place in enumerate(wanted):
        if np.linalg.norm(missed[:, column]) <= _OUT_OF_REACH * np.linalg.norm(units[:, column]):
            continue
        correction = tied @ np.linalg.lstsq(root @ tied, root @ missed[:, column], rcond=None)[0]
        left = root @ (missed[:, column] - correction)
        # With fewer assets than factors, none of them can be told from the others.
        alike = len(model.names) >= len(model.factors) and float(left @ left) <= _LARGEST_MISS * model.Phi[place, place]
        if not alike or model.Phi[place, place] <= 0.0:
            raise ProblemError(
                f"factors[{model.factors[place]}]", _why_out_of_reach(model, place, missed[:, column] / reach.scales)
            )
        targets[:, column] += reach.basis @ correction
    return np.asarray(targets)


def _tied(reach: _Reach) -> FloatArray:
    """(k, j) basis of the exposures within reach to those factors alone that have a part in a combination."""
    combinations = linalg.null_space(reach.basis)
    part = np.abs(combinations).max(axis=1, initial=0.0) > _NAMED_COEFFICIENT
    within = linalg.null_space(combinations[part].T)
    tied = np.zeros((len(part), within.shape[1]))
    tied[part] = within
    return tied


def _why_out_of_reach(model: FactorModel, place: int, direction: FloatArray) -> str:
    """By a direction of exposures that no asset has: what the factor is a combination of."""
    if not model.B[:, place].any():
        return "no instrument has exposure to it"
    if len(model.names) < len(model.factors):
        return f"{len(model.names)} instruments are too few for exposure to it alone, with {len(model.factors)} factors"
    others = [
        name
        for other, name in enumerate(model.factors)
        if other != place and abs(direction[other]) > _NAMED_COEFFICIENT * abs(direction[place])
    ]
    return f"no weights have exposure to it alone: its exposures are a combination of those to {', '.join(others)}"


def _least_specific(C: FloatArray, specific: FloatArray, targets: FloatArray) -> FloatArray:
    """(n, m) weights with C'w = targets, C (n, r) of full column rank, and w'Dw least.

    By QR of D^-1/2 C rather than by the normal equations, which square its condition.
    """
    free = specific <= _NO_SPECIFIC * specific.max()
    # What assets without specific variance can't provide, the others have to.
    left, values, right = np.linalg.svd(C[free].T)
    rank = int(np.sum(values > _RANK_TOLERANCE)) if values.size else 0
    beyond, deviations = left[:, rank:], np.sqrt(specific[~free])[:, None]
    Q, upper = np.linalg.qr((C[~free] @ beyond) / deviations)
    W = np.zeros((len(C), targets.shape[1]))
    # The second time takes up what rounding left of the exposures.
    for _ in range(2):
        missing = beyond.T @ (targets - C.T @ W)
        W[~free] += (Q @ linalg.solve_triangular(upper, missing, trans="T")) / deviations
        missing = left[:, :rank].T @ (targets - C.T @ W)
        W[free] += right[:rank].T @ (missing / values[:rank, None])
    return W
