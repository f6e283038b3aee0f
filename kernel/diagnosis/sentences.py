"""The explanation in one readable sentence: the caller's names, and numbers in their units."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from kernel.canonical import Vector
from kernel.constraints import Measurement
from kernel.diagnosis.conflict import family
from kernel.solution import Minimality, PlanKind, Relaxation, RelaxationPlan

# Units of plain numbers; every other unit is a fraction, and is written in percent.
_PLAIN = frozenset({"variance", "exposure", "positions", "concentration", "entropy", "score"})
# Fractions below it, a tenth of a percent, are written in basis points.
_SMALL = 1e-3
_DIGITS = 6
_ROUNDING = 1e-4
# Names and changes that a sentence lists before it only counts.
_LISTED = 6
# Limits alike that are named one by one in a long list.
_ALIKE = 2


def quantity(value: float, unit: str, *, towards: float = 0.0) -> str:
    """A number in its unit: percent, basis points when small, or plain.

    Args:
        value: The number.
        unit: Its unit.
        towards: +1 rounds up, -1 down, so that a limit that was rounded still does what it should; 0 to the nearest.
    """
    if unit in _PLAIN or not math.isfinite(value):
        return _digits(value, towards)
    if 0.0 < abs(value) < _SMALL:
        return f"{_digits(1e4 * value, towards)} bp"
    return f"{_digits(100.0 * value, towards)}%"


def _digits(value: float, towards: float) -> str:
    if value == 0.0 or not math.isfinite(value):
        return f"{value:g}"
    shift = 10.0 ** (_DIGITS - 1 - math.floor(math.log10(abs(value))))
    nearest = round(value * shift)
    rounded = nearest
    # Beyond rounding of the product itself, the nearest number may lie on the wrong side.
    if towards > 0.0 and nearest < value * shift - _ROUNDING:
        rounded += 1
    elif towards < 0.0 and nearest > value * shift + _ROUNDING:
        rounded -= 1
    return f"{rounded / shift:.10g}"


def explain_conflict(
    limits: Sequence[Measurement],
    conflicting: Sequence[str],
    alternatives: Sequence[RelaxationPlan],
    minimality: Minimality,
) -> str:
    """What cannot hold together, and what to change.

    Args:
        limits: Every limit of the problem, measured anywhere.
        conflicting: Names of the conflict.
        alternatives: The plans, the one of least total first.
        minimality: What is proven of the conflict.
    """
    stated = _joined(_stated(conflicting, limits), "limits")
    verb = "cannot hold" if len(conflicting) == 1 else "cannot hold together"
    sentence = f"{stated} {verb}{_beside(limits)}"
    if minimality is Minimality.UNPROVEN:
        sentence += " (the search was stopped: some of these limits may play no part)"
    for plan in alternatives:
        sentence += f"; {_introduction(plan, alternatives[0])} {_changes(plan.relaxations)}"
    if len(alternatives) == len(conflicting) == 1:
        sentence += "; there is no way around it"
    return sentence


def explain_direction(
    names: Sequence[str], direction: Vector | None, what: str = "the objective improves for ever"
) -> str:
    """Which assets the objective would buy and sell without end, and which of their sides no limit closes.

    Args:
        names: (n,) of the assets.
        direction: (n,) weight changes; None where it is not known.
        what: What happens along it.
    """
    if direction is None:
        return f"{what}: bound the weights"
    changes = sorted(zip(-np.abs(direction), names, direction, strict=True))
    bought = [(name, quantity(change, "weight")) for _, name, change in changes if change > 0.0]
    sold = [(name, quantity(change, "weight")) for _, name, change in changes if change < 0.0]
    sides = (("buying", "larger", bought), ("selling", "smaller", sold))
    moves = [f"{verb} {_joined([f'{n} ({c})' for n, c in side], 'assets')}" for verb, _, side in sides if side]
    stops = [f"{size} weights of {_joined([n for n, _ in side], 'assets')}" for _, size, side in sides if side]
    return f"{what} by {' and '.join(moves)}, since no limit stops {' nor '.join(stops)}: bound the weights"


def _stated(names: Sequence[str], limits: Sequence[Measurement]) -> list[str]:
    """Every name with its limit; of many alike, such as ``max_weights[A]``, their number and range."""
    if len(names) <= _LISTED:
        return [_with_limit(name, [name], limits) for name in names]
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(family(name), []).append(name)
    few = [name for group in alike.values() if len(group) <= _ALIKE for name in group]
    many = {f"{len(group)} of {kind}": group for kind, group in alike.items() if len(group) > _ALIKE}
    return [
        *(_with_limit(name, [name], limits) for name in few),
        *(_with_limit(label, group, limits) for label, group in many.items()),
    ]


def _with_limit(label: str, names: Collection[str], limits: Iterable[Measurement]) -> str:
    """`label (30%)`, or the range of limits that differ."""
    own = [m for m in limits if m.name in names]
    low, high = min(own, key=lambda m: m.limit), max(own, key=lambda m: m.limit)
    first, last = quantity(low.limit, low.unit), quantity(high.limit, high.unit)
    return f"{label} ({first})" if first == last else f"{label} ({first} to {last})"


def _beside(limits: Iterable[Measurement]) -> str:
    totals = [m for m in limits if m.name == "budget"]
    return f" while weights add up to {quantity(totals[0].limit, totals[0].unit)}" if totals else ""


def _introduction(plan: RelaxationPlan, first: RelaxationPlan) -> str:
    """How a plan is announced."""
    match plan.kind:
        case PlanKind.LEAST_TOTAL:
            return f"the least change that {'helps' if plan.proven else 'was found'} is to"
        case PlanKind.FEWEST_LIMITS if len(plan.relaxations) == 1:
            return "changing one limit only:"
        case PlanKind.FEWEST_LIMITS:
            return f"changing {len(plan.relaxations)} limits only:"
        case PlanKind.OTHER_LIMITS:
            spared = [r.name for r in first.relaxations]
            return f"leaving {_joined(spared, 'limits')} as {'it is' if len(spared) == 1 else 'they are'}:"
        case PlanKind.EVEN:
            return "spread evenly:"


def _changes(relaxations: Iterable[Relaxation]) -> str:
    moves = []
    for r in relaxations:
        verb, towards = ("raise", 1.0) if r.relaxed_limit > r.limit else ("lower", -1.0)
        to = quantity(r.relaxed_limit, r.unit, towards=towards)
        moves.append(f"{verb} {r.name} from {quantity(r.limit, r.unit)} to {to}")
    return _joined(moves, "changes")


def _joined(parts: Sequence[str], noun: str) -> str:
    """The parts in words; beyond a few, the first of them and how many there are."""
    if len(parts) > _LISTED:
        return f"{', '.join(parts[:_LISTED])} and {len(parts) - _LISTED} more {noun}"
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
