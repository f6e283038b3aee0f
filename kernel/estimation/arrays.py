"""Checks and small helpers for the arrays that enter and leave the estimators."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kernel.errors import ProblemError

FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

# Fourth powers of returns enter Ledoit-Wolf; beyond this they would lose all digits, and no price does it.
LARGEST_RETURN = 1e6
# With less, the last period has all the weight up to a thousandth, and nothing is left to measure a risk by.
SMALLEST_HALF_LIFE = 0.1


def read_only(array: FloatArray) -> FloatArray:
    """The same array, closed for writing; for arrays that nobody else holds yet."""
    array.setflags(write=False)
    return array


def first_true(mask: BoolArray) -> tuple[int, ...] | None:
    """The index of the first true element in row order, None when there is none."""
    if not mask.any():
        return None
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))


def at(field: str, index: tuple[int, ...]) -> str:
    """The path of one element: ``covariance[2][5]``."""
    return field + "".join(f"[{i}]" for i in index)


def checked_returns(R: FloatArray, minimum_periods: int) -> FloatArray:
    """The returns as float64, or the reason why they cannot be used.

    Args:
        R: (T, n) simple returns per period, fractions.
        minimum_periods: The smallest T accepted.

    Returns:
        (T, n) float64, all finite.

    Raises:
        ProblemError: R is not a table, has too few periods or no asset, or an element is not finite or absurdly large.
    """
    table = np.asarray(R, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] == 0:
        raise ProblemError("returns", f"must be periods x assets with at least one asset; the shape is {table.shape}")
    if table.shape[0] < minimum_periods:
        raise ProblemError("returns", f"at least {minimum_periods} periods are needed; there are {table.shape[0]}")
    # Two passes without a copy; what is not a number is neither.
    if not (table.min() >= -LARGEST_RETURN and table.max() <= LARGEST_RETURN):
        bad = first_true(~(np.abs(table) <= LARGEST_RETURN))
        assert bad is not None
        reason = f"is {table[bad]:g}; a return must be finite and within {LARGEST_RETURN:g}"
        raise ProblemError(at("returns", bad), reason)
    return table


def checked_vector(values: FloatArray, size: int, field: str) -> FloatArray:
    """The vector as float64 of the given size.

    Args:
        values: (size,) numbers.
        size: The number of assets.
        field: What to call the vector in an error.

    Returns:
        (size,) float64, all finite.

    Raises:
        ProblemError: Another shape, or an element that is not finite.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (size,):
        raise ProblemError(field, f"must have one number for each of the {size} assets; the shape is {vector.shape}")
    bad = first_true(~np.isfinite(vector))
    if bad is not None:
        raise ProblemError(at(field, bad), f"is {vector[bad]}; it must be finite")
    return vector


def checked_positive(value: float, field: str) -> float:
    """The number itself, when it is finite and above zero.

    Raises:
        ProblemError: It is not.
    """
    if not (np.isfinite(value) and value > 0):
        raise ProblemError(field, f"is {value:g}; it must be finite and above 0")
    return value


def checked_finite(value: float, field: str) -> float:
    """The number itself, when it is finite.

    Raises:
        ProblemError: It is not.
    """
    if not np.isfinite(value):
        raise ProblemError(field, f"is {value}; it must be finite")
    return value


def decay_weights(periods: int, half_life: float) -> FloatArray:
    """Weights that halve with every half-life into the past.

    w_t = 2^(-(T - t) / h) / sum_s 2^(-(T - s) / h),  t = 1..T

    Args:
        periods: T >= 1.
        half_life: h in periods, at least SMALLEST_HALF_LIFE.

    Returns:
        (T,) weights > 0 with sum 1, the last the largest.

    Raises:
        ProblemError: half_life is not finite or too small.
    """
    if not (np.isfinite(half_life) and half_life >= SMALLEST_HALF_LIFE):
        raise ProblemError(
            "half_life", f"is {half_life:g} periods; it must be finite and at least {SMALLEST_HALF_LIFE}"
        )
    raw = np.exp2(-np.arange(periods - 1, -1, -1) / half_life)
    return np.asarray(raw / raw.sum(), dtype=np.float64)


def centred(R: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """The returns less their means; exactly zero for an asset whose returns are all equal.

    Args:
        R: (T, n) simple returns per period, T >= 2.
        weights: (T,) weights of the periods in the mean, sum 1; equal ones by default.

    Returns:
        (T, n) X, a new array.

    Raises:
        ProblemError: Fewer than two periods, no asset, or elements that are not finite.
    """
    table = checked_returns(R, minimum_periods=2)
    X: FloatArray = table - (table.mean(axis=0) if weights is None else weights @ table)
    # The mean of equal returns is rounded; without this a constant asset would keep a variance of 1e-34.
    suspects = np.flatnonzero((table[0] == table[1]) & (table[0] == table[-1]))
    X[:, suspects[np.ptp(table[:, suspects], axis=0) == 0.0]] = 0.0
    return X


def gram(X: FloatArray) -> FloatArray:
    """X'X, exactly symmetric: numpy passes a product with its own transpose to the symmetric BLAS routine."""
    product: FloatArray = X.T @ X
    return product
