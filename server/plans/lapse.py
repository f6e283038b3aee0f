"""Whether a plan still holds: its age, its holdings, and how far prices and weights have moved."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from server.listing import listed
from server.plans.hash import POSITION_PARTS, position_parts
from server.plans.positions import Position, cash_with_flow, from_stored, position_of
from server.plans.states import OPEN, PlanStatus
from server.specs import CASH
from storage.plan_records import PlanState
from storage.records import Portfolio

_PARTS = {"lots": "the tax lots", "account": "the settings of the account"}


@dataclass(frozen=True, slots=True)
class Present:
    """How things are now.

    Attributes:
        now: The moment.
        portfolio: The portfolio of the plan.
        pack_id: Newest pack with prices of all that the plan has prices of; empty where there is none.
        prices: Its last prices.
    """

    now: datetime
    portfolio: Portfolio
    pack_id: str
    prices: Mapping[str, Decimal]


def may_lapse(state: PlanState) -> bool:
    """Whether the plan can lapse: it is open, and no order of it is at the market."""
    return PlanStatus(state.status) in OPEN and state.position_after is None


def reason_to_lapse(state: PlanState, present: Present) -> str:
    """Why a plan holds no more, in one sentence; empty while it does.

    Args:
        state: The plan; one that cannot lapse always holds.
        present: How things are now.
    """
    if not may_lapse(state):
        return ""
    return next(_reasons(state, present), "")


def _reasons(state: PlanState, present: Present) -> Iterator[str]:
    if state.expires_at is not None and present.now >= state.expires_at:
        yield f"its {state.validity_hours:g} hours were over on {state.expires_at.isoformat(timespec='seconds')}"
    before, now = from_stored(state.position_before), position_of(present.portfolio)
    hashes = position_parts(present.portfolio)
    parts = {name for name in POSITION_PARTS if hashes[name] != state.input_parts.get(name)}
    if now.cash == cash_with_flow(state.position_before):
        # The deposit that the plan invests has come, or the withdrawal that it answers has gone.
        parts.discard("cash")
    if parts:
        yield _changes(before, now, parts)
    old = {name: Decimal(price) for name, price in state.prices.items()}
    new = {name: price for name, price in present.prices.items() if name in old}
    yield from _price_moves(state, old, new, present.pack_id)
    if new.keys() >= position_of(present.portfolio).quantities.keys():
        yield from _weight_moves(state, old, new, present)


def differences(before: Position, now: Position) -> list[str]:
    """What is held otherwise than before: a phrase for each instrument, in their order, and one for cash."""
    names, zero = sorted({*before.quantities, *now.quantities}), Decimal(0)
    found = [
        f"{name} from {before.quantities.get(name, zero):f} to {now.quantities.get(name, zero):f}"
        for name in names
        if before.quantities.get(name, zero) != now.quantities.get(name, zero)
    ]
    return found if now.cash == before.cash else [*found, f"cash from {before.cash:f} to {now.cash:f}"]


def _changes(before: Position, now: Position, parts: Collection[str]) -> str:
    found = differences(before, now if "cash" in parts else replace(now, cash=before.cash))
    found += [what for name, what in _PARTS.items() if name in parts]
    return f"what the plan was made from has changed: {listed(found)}"


def _price_moves(
    state: PlanState, old: Mapping[str, Decimal], new: Mapping[str, Decimal], pack_id: str
) -> Iterator[str]:
    limit = Fraction(state.max_price_move)
    moves = {name: _move(old[name], price) for name, price in new.items()}
    name = max(sorted(moves), key=lambda key: moves[key], default="")
    if name and moves[name] > limit:
        yield (
            f"the price of {name} moved from {old[name]:f} to {new[name]:f} (pricing pack {pack_id}), by "
            f"{_percent(moves[name])}, more than max_price_move of {_percent(limit)}"
        )


def _weight_moves(
    state: PlanState, old: Mapping[str, Decimal], new: Mapping[str, Decimal], present: Present
) -> Iterator[str]:
    position, limit = position_of(present.portfolio), Fraction(state.max_weight_move)
    before, after = _weights(position, old), _weights(position, new)
    if before is None or after is None:
        yield f"the portfolio is worth nothing at the prices of pricing pack {present.pack_id}"
        return
    moves = {name: abs(after[name] - before[name]) for name in before}
    name = max(sorted(moves), key=lambda key: moves[key])
    if moves[name] > limit:
        yield (
            f"the weight of {name} moved from {_percent(before[name])} to {_percent(after[name])} (pricing pack "
            f"{present.pack_id}), by {_percent(moves[name])}, more than max_weight_move of {_percent(limit)}"
        )


def _move(old: Decimal, new: Decimal) -> Fraction:
    return abs(Fraction(new) - Fraction(old)) / Fraction(old)


def _weights(position: Position, prices: Mapping[str, Decimal]) -> dict[str, Fraction] | None:
    """Exact weights: whether a limit is exceeded must not hang on a rounding."""
    values = {name: Fraction(held) * Fraction(prices[name]) for name, held in position.quantities.items()}
    values[CASH] = Fraction(position.cash)
    total = sum(values.values(), Fraction(0))
    return {name: value / total for name, value in values.items()} if total > 0 else None


def _percent(value: Fraction) -> str:
    return f"{float(100 * value):.6g}%"
