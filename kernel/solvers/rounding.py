"""Complete choices near a relaxed point: what to try for an incumbent (Berthold 2006, primal heuristics).

Switches are turned on greedily, the most used first, as long as the rows over switches alone allow it: at most k
positions keep the k largest. Then smallest positions are held or dropped, and lots rounded to the nearest.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from kernel.canonical import Vector
from kernel.solvers.branching import Choices, Rules
from kernel.solvers.fixing import Choice
from kernel.solvers.switches import RelativeRows

_USED = 1e-7
_HALF = 0.5
_QUARTERS = (0.25, 0.5, 0.75, 0.9)


class Rounding:
    """Proposes choices that leave nothing discrete open."""

    def __init__(self, rules: Rules, rows: RelativeRows, q: Vector) -> None:
        self._rules, self._links = rules, rules.switches.links
        self._on = np.flatnonzero(rules.switches.mask)
        self._dear = bool((~rules.switches.falling[self._on]).any() or q[self._on].any())
        outside = np.asarray(abs(rows.A) @ (~rules.switches.mask).astype(float)) > 0.0
        alone = rows.chosen(~outside & (np.diff(rows.A.indptr) > 0))
        self._A, self._b = sp.csc_array(alone.A[:, self._on]), alone.b

    def proposals(self, y: Vector) -> Iterator[Choices]:
        """Choices near y (N,), relative: all that is used kept, then only what is used by half.

        Where switches cost, what is used least is dropped by quarters as well.
        """
        used = self._used(y)
        used = used[used > _USED]
        parts = np.quantile(used, _QUARTERS).tolist() if self._dear and len(used) else []
        for least in (_USED, *parts, _HALF):
            on = self._switched_on(y, least)
            yield (*self._switches(on), *self._positions(y, on), *self._lots(y))
        if self._rules.semicontinuous:
            on = self._switched_on(y, _USED)
            yield (*self._switches(on), *self._positions_that_fit(y), *self._lots(y))

    def kept(self, y: Vector) -> Choices:
        """The choice of what y uses."""
        return next(self.proposals(y))

    def around(self, y: Vector, on: set[int]) -> Choices:
        """The choice of exactly these switches, with the rest near y."""
        return (*self._switches(on), *self._positions(y, on), *self._lots(y))

    def allows(self, on: set[int]) -> bool:
        """Whether the rows over switches alone hold."""
        z = np.isin(self._on, list(on)).astype(float)
        return bool((self._A @ z <= self._b + _USED).all())

    def _switched_on(self, y: Vector, least: float) -> set[int]:
        """Greedy: what is used by `least` and fits, and then whatever rows that ask for more still need."""
        levels = self._used(y)
        load = np.zeros(len(self._b))
        on = set()
        for k in np.argsort(-levels, kind="stable").tolist():
            part = slice(self._A.indptr[k], self._A.indptr[k + 1])
            rows, values = self._A.indices[part], self._A.data[part]
            missing = bool((load[rows] > self._b[rows] + _USED)[values < 0.0].any())
            fits = bool((load[rows] + values <= self._b[rows] + _USED)[values > 0.0].all())
            if fits and (levels[k] >= least or missing):
                load[rows] += values
                on.add(int(self._on[k]))
        return on

    def _used(self, y: Vector) -> Vector:
        """(s,) how much the point needs each switch; with a smallest position, in halves of that."""
        levels = y[self._on].copy()
        place = {index: k for k, index in enumerate(self._on.tolist())}
        for position in self._rules.semicontinuous:
            link = self._links.get(position.index)
            if link is not None:
                levels[place[link]] = abs(y[position.index]) / position.threshold
        return levels

    def _switches(self, on: set[int]) -> Iterator[Choice]:
        for index in self._on.tolist():
            yield from self._rules.switch(index, on=True) if index in on else (Choice(index, upper=0.0),)

    def _positions(self, y: Vector, on: set[int]) -> Iterator[Choice]:
        for position in self._rules.semicontinuous:
            index, least = position.index, position.threshold
            link = self._links.get(index)
            held = abs(y[index]) >= _HALF * least if link is None else link in on
            if not held:
                yield from self._rules.dropped(position)
            elif y[index] < 0.0:
                yield Choice(index, upper=-least)
            else:
                yield from self._rules.held(position)

    def _positions_that_fit(self, y: Vector) -> Iterator[Choice]:
        """The largest positions, as many as their smallest sizes leave room for in what y holds altogether.

        Where many positions are alike, just below the smallest size, holding all of them would be too much.
        """
        positions = self._rules.semicontinuous
        sizes = np.array([abs(y[position.index]) for position in positions])
        least = np.array([position.threshold for position in positions])
        order = np.argsort(-sizes / least, kind="stable")
        held = np.zeros(len(positions), dtype=bool)
        held[order] = np.cumsum(least[order]) <= sizes.sum() + _USED
        for position, keeps in zip(positions, held.tolist(), strict=True):
            if not keeps:
                yield from self._rules.dropped(position)
            elif y[position.index] < 0.0:
                yield Choice(position.index, upper=-position.threshold)
            else:
                yield from self._rules.held(position)

    def _lots(self, y: Vector) -> Iterator[Choice]:
        for index, step in zip(self._rules.integral.tolist(), self._rules.steps.tolist(), strict=True):
            if not self._rules.switches.mask[index]:
                nearest = step * float(np.round(y[index] / step))
                yield Choice(index, nearest, nearest)
