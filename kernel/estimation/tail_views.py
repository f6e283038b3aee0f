"""Conditions on conditional value at risk beside linear ones, solved to the global optimum.

CVaR_p(L) = min_t t + E_p (L - t)+ / (1 - c) is concave in the probabilities p. "At least v" is therefore convex: it
holds when E (L - t)+ >= (1 - c) (v - t) for every t, and the few t that matter are added one by one. "At most v" is
not convex: it holds when E (L - t)+ <= (1 - c) (v - t) for some t, the value at risk. Branch and bound places it: with
the value at risk between the losses l and h,

    P(L > h) <= 1 - c <= P(L >= l),    E (L - l) 1{L > h} <= (1 - c) (v - l)

are linear, necessary, and sufficient once l = h.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray
from kernel.estimation.relative_entropy import Conditions, Tilt, tilt
from kernel.measures.tails import tail_weights
from kernel.measures.value_at_risk import quantile

# Of a CVaR, in standard deviations of the loss.
_TOLERANCE = 1e-9
# Of the entropy: nodes that could be better by less than this are left.
_IMPROVEMENT = 1e-10
# Beyond it the best found is the answer, with the gap that is left.
# They are shared by the tails that are made lighter, and again, since several are rarely settled anyway.
_MOST_NODES = 150
_MOST_CUTS = 100
# Several values at risk are first moved by this fraction of the scenarios, then by less and less.
_FIRST_STRIDE = 64


@dataclass(frozen=True, slots=True, eq=False)
class TailCondition:
    """CVaR of a loss at a confidence level <sense> value.

    Attributes:
        losses: (T,) per period.
        confidence_level: c in (0, 1).
        value: v.
        sense: ``=``, ``<=`` or ``>=``.
    """

    losses: FloatArray
    confidence_level: float
    value: float
    sense: str

    @property
    def levels(self) -> FloatArray:
        """(m,) the different losses, rising."""
        return np.unique(self.losses)

    def row(self, t: float) -> tuple[FloatArray, float]:
        """Values and target of E (L - t)+ against (1 - c) (v - t)."""
        return np.maximum(self.losses - t, 0.0), (1.0 - self.confidence_level) * (self.value - t)


@dataclass(frozen=True, slots=True, eq=False)
class TailTilt:
    """Probabilities under linear and tail conditions.

    Attributes:
        tilt: The probabilities; its prices are those of the linear conditions, its bound holds for the whole search.
        tail_prices: Change of the entropy per unit of each tail condition's value.
    """

    tilt: Tilt
    tail_prices: FloatArray


def conditional_value_at_risk(losses: FloatArray, p: FloatArray, confidence_level: float) -> float:
    """The mean of the largest 1 - c of the losses."""
    return float(tail_weights(losses, p, confidence_level) @ losses)


def tilt_with_tails(p0: FloatArray, conditions: Conditions, tails: tuple[TailCondition, ...]) -> TailTilt | None:
    """The probabilities nearest to p0 in relative entropy that meet linear and tail conditions.

    Args:
        p0: (T,) > 0, sum 1.
        conditions: k linear ones.
        tails: Any number of tail conditions.

    Returns:
        The global optimum within its bound: with one tail made lighter the gap closes, with several it may stay open
        when the search reaches its limit. None when it is proven that no probabilities meet all conditions.

    Raises:
        ProblemError: The search has found nothing within its limit, or as `tilt`.

    References:
        Meucci, Ardia & Keel (2011), Fully flexible extreme views, whose search along the tail this makes global.
    """
    if not tails:
        found = tilt(p0, conditions)
        return None if found is None else TailTilt(found, np.zeros(0))
    return _Search(p0, conditions, tails).run()


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """A linear condition that stands for a tail one; its target changes by `rate` per unit of the tail's value."""

    tail: int
    a: FloatArray
    b: float
    sense: str
    rate: float


@dataclass(frozen=True, slots=True, eq=False)
class _Node:
    """Values at risk between two places among the levels, for each tail condition."""

    low: tuple[int, ...]
    high: tuple[int, ...]


class _Search:
    """Branch and bound over the places of the values at risk, with the cuts that all nodes share."""

    def __init__(self, p0: FloatArray, conditions: Conditions, tails: tuple[TailCondition, ...]) -> None:
        self._p0, self._conditions, self._tails = p0, conditions, tails
        self._levels = [tail.levels for tail in tails]
        self._scale = [float(np.std(tail.losses)) or 1.0 for tail in tails]
        self._cuts: list[_Row] = []
        self._unresolved: list[float] = []
        self._best: TailTilt | None = None

    def run(self) -> TailTilt | None:
        """Best bound first, until no node could be better than the best found by more than a trifle."""
        order = count()
        root = _Node((0,) * len(self._tails), tuple(len(levels) - 1 for levels in self._levels))
        open_nodes: list[tuple[float, int, _Node]] = [(0.0, next(order), root)]
        placed = sum(tail.sense != ">=" for tail in self._tails)
        for _ in range(max(_MOST_NODES // max(placed, 1) ** 2, 1)):
            if not open_nodes or open_nodes[0][0] >= self._limit:
                break
            known, _, node = heapq.heappop(open_nodes)
            found = self._explored(node, known)
            beyond = None if found is None else self._beyond(node, found.tilt.p)
            if found is None:
                continue
            if beyond is None:
                self._best = found
                continue
            if self._best is None:
                self._descend(found)
            for child in self._children(node, beyond, found.tilt.p):
                heapq.heappush(open_nodes, (found.tilt.bound, next(order), child))
        return self._settled([bound for bound, _, _ in open_nodes])

    def _settled(self, open_bounds: list[float]) -> TailTilt | None:
        left = [*open_bounds, *self._unresolved]
        if self._best is None:
            if left:
                raise ProblemError("views", "on cvar could not be settled: they leave hardly any probabilities")
            return None
        bound = min(self._best.tilt.bound, max(self._limit, 0.0), *left)
        return replace(self._best, tilt=replace(self._best.tilt, bound=bound))

    @property
    def _limit(self) -> float:
        """Below which an entropy is worth looking for."""
        return np.inf if self._best is None else self._best.tilt.entropy - _IMPROVEMENT

    def _explored(self, node: _Node, known: float) -> TailTilt | None:
        """The optimum of a node's necessary conditions; None where the node holds nothing better."""
        try:
            found = self._cut([row for k in range(len(self._tails)) for row in self._placed(node, k)], self._cuts)
        except ProblemError:
            self._unresolved.append(known)
            return None
        return None if found is None or found.tilt.entropy >= self._limit else found

    def _descend(self, found: TailTilt) -> None:
        """A first solution: values at risk where the last probabilities have them; several are moved while it helps."""
        placed = [k for k, tail in enumerate(self._tails) if tail.sense != ">="]
        places = {
            k: int(
                np.searchsorted(
                    self._levels[k], quantile(self._tails[k].losses, found.tilt.p, self._tails[k].confidence_level)
                )
            )
            for k in placed
        }
        self._try(places)
        stride = 0 if len(placed) == 1 else max(len(self._p0) // _FIRST_STRIDE, 1)
        while stride:
            moves = [places | {k: places[k] + way * stride} for k in placed for way in (-1, 1)]
            better = next((move for move in moves if self._try(move)), None)
            places = better or places
            stride = stride if better else stride // 2

    def _try(self, places: dict[int, int]) -> bool:
        """Whether values at risk at these places lead to a better solution than the best, which it then becomes."""
        rows = []
        for k, place in places.items():
            if not 0 <= place < len(self._levels[k]):
                return False
            a, b = self._tails[k].row(float(self._levels[k][place]))
            rows.append(_Row(k, a, b, "<=", 1.0 - self._tails[k].confidence_level))
        try:
            found = self._cut(rows, [])
        except ProblemError:
            return False
        if found is None or found.tilt.entropy >= self._limit:
            return False
        self._best = found
        return True

    def _cut(self, placed: list[_Row], cuts: list[_Row]) -> TailTilt | None:
        """The optimum under rows and cuts, to which those are added that it lacks."""
        for _ in range(_MOST_CUTS):
            found = self._solve([*placed, *cuts])
            if found is None or found.tilt.entropy >= self._limit:
                return found
            missing = [cut for k in range(len(self._tails)) if (cut := self._missing_cut(k, found.tilt.p)) is not None]
            if not missing:
                return found
            cuts += missing
        raise ProblemError("views", f"on cvar were not settled by {_MOST_CUTS} cuts")

    def _solve(self, rows: list[_Row]) -> TailTilt | None:
        given = self._conditions
        A = np.column_stack([given.A, *(row.a for row in rows)])
        b = np.append(given.b, [row.b for row in rows])
        found = tilt(self._p0, Conditions(A, b, (*given.senses, *(row.sense for row in rows))))
        if found is None:
            return None
        tail_prices = np.zeros(len(self._tails))
        for row, price in zip(rows, found.prices[len(given) :].tolist(), strict=True):
            tail_prices[row.tail] += row.rate * price
        return TailTilt(replace(found, prices=found.prices[: len(given)]), tail_prices)

    def _placed(self, node: _Node, k: int) -> Iterator[_Row]:
        """What "at most" implies for a value at risk between the node's places."""
        tail, levels = self._tails[k], self._levels[k]
        if tail.sense == ">=":
            return
        low, high, share = levels[node.low[k]], levels[node.high[k]], 1.0 - tail.confidence_level
        if node.high[k] < len(levels) - 1:
            yield _Row(k, (tail.losses > high).astype(np.float64), share, "<=", 0.0)
        if node.low[k] > 0:
            yield _Row(k, (tail.losses >= low).astype(np.float64), share, ">=", 0.0)
        beyond = np.where(tail.losses > high, tail.losses - low, 0.0)
        yield _Row(k, beyond, share * (tail.value - low), "<=", share)

    def _missing_cut(self, k: int, p: FloatArray) -> _Row | None:
        tail = self._tails[k]
        c = tail.confidence_level
        if tail.sense == "<=":
            return None
        if conditional_value_at_risk(tail.losses, p, c) >= tail.value - _TOLERANCE * self._scale[k]:
            return None
        a, b = tail.row(quantile(tail.losses, p, c))
        return _Row(k, a, b, ">=", 1.0 - c)

    def _beyond(self, node: _Node, p: FloatArray) -> int | None:
        """The tail condition that is exceeded by most, among those whose value at risk has room left."""
        excess = np.zeros(len(self._tails))
        for k, tail in enumerate(self._tails):
            if tail.sense != ">=" and node.low[k] < node.high[k]:
                risk = conditional_value_at_risk(tail.losses, p, tail.confidence_level)
                excess[k] = (risk - tail.value) / self._scale[k]
        k = int(np.argmax(excess))
        return k if excess[k] > _TOLERANCE else None

    def _children(self, node: _Node, k: int, p: FloatArray) -> Iterator[_Node]:
        """Below, at and above the value at risk of p, or two halves where it lies at an end."""
        tail, low, high = self._tails[k], node.low[k], node.high[k]
        t = quantile(tail.losses, p, tail.confidence_level)
        place = int(np.searchsorted(self._levels[k], t))
        middle = (low + high) // 2
        parts = [(low, middle), (middle + 1, high)]
        if low < place < high:
            parts = [(low, place - 1), (place, place), (place + 1, high)]
        for first, last in parts:
            yield _Node((*node.low[:k], first, *node.low[k + 1 :]), (*node.high[:k], last, *node.high[k + 1 :]))
