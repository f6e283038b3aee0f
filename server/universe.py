"""What can only be checked against the universe: names that a request uses and the universe does not have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from server.compute.inputs import Asset
from server.errors import Fault, InvalidRequest
from server.specs import CASH, ConstraintSpec, ModelSpec, OptimizationSpec

_LISTED = 20


def check_universe(assets: Sequence[Asset], spec: OptimizationSpec) -> None:
    """Check every name of a request against its universe.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = [*_limit_faults(assets, spec.constraints), *_model_faults(assets, spec.model)]
    if faults:
        raise InvalidRequest(faults)


def listed(names: Iterable[str]) -> str:
    """Names for a sentence, the first twenty of them."""
    every = list(names)
    more = f" and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return ", ".join(every[:_LISTED]) + more


def _limit_faults(assets: Sequence[Asset], spec: ConstraintSpec) -> Iterator[Fault]:
    ids = {asset.id for asset in assets}
    yield from _unknown("constraints.min_weights", spec.min_weights, ids)
    yield from _unknown("constraints.max_weights", spec.max_weights, ids)
    yield from _unknown("constraints.sector_limits", spec.sector_limits, {asset.sector for asset in assets})
    yield from _unknown("constraints.asset_class_limits", spec.asset_class_limits, {a.asset_class for a in assets})
    excluded = {asset.id for asset in assets if not asset.candidate}
    for name in sorted(excluded & {name for name, floor in spec.min_weights.items() if floor > 0}):
        yield Fault(f"constraints.min_weights[{name}]", "asks to hold what instrument_ids leaves out")


def _model_faults(assets: Sequence[Asset], model: ModelSpec) -> Iterator[Fault]:
    ids = [asset.id for asset in assets]
    if model.returns.method == "provided":
        yield from _missing("expected_returns.values", "value", ids, model.returns.values)
    if model.risk.method == "provided":
        yield from _missing("risk_model.covariance.instrument_ids", "row", ids, model.risk.names)
    if model.views is not None:
        known = {asset.id for asset in assets if asset.market_cap is not None}
        yield from _missing("black_litterman.market_caps", "value", ids, known | set(model.views.market_caps))
        for view in model.views.views:
            yield from _unknown(f"black_litterman.views[{view.name}].weights", view.weights, set(ids))
    elif model.returns.method == "equilibrium":
        known = {asset.id for asset in assets if asset.market_cap is not None}
        yield from _missing("expected_returns.market_caps", "value", ids, known | set(model.returns.market_caps))


def _unknown(field: str, names: Iterable[str], known: set[str]) -> Iterator[Fault]:
    if strangers := sorted(set(names) - known):
        have = f"; it has {listed(sorted(known))}" if len(known) <= _LISTED else ""
        yield Fault(field, f"names {listed(strangers)}, which the universe does not have{have}")


def _missing(field: str, what: str, ids: Sequence[str], given: Iterable[str]) -> Iterator[Fault]:
    present = set(given)
    if missing := [name for name in ids if name not in present and name != CASH]:
        yield Fault(field, f"has no {what} for {listed(missing)}")
