"""Policies, from the wire and back; and what a policy says of a plan."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from portfolio_optimization.v1 import policies_pb2 as pb
from portfolio_optimization.v1 import rebalancing_pb2

from kernel.rebalancing.remarks import Remark
from server.convert.answers import timestamp
from server.convert.faults import POSITIVE, Bounds, Faults
from server.convert.text_values import read_words, shortest_decimal
from server.settings import Settings
from storage.policies import Policy

METHOD_VERSIONS = ("v1",)
_SHARE = Bounds(0.0, 1.0, open_low=True)
LIMIT_BOUNDS = {
    "min_quality_score": Bounds(0.0, 10.0),
    "max_single_position": _SHARE,
    "max_sector": _SHARE,
    "max_tracking_error": POSITIVE,
    "max_turnover": _SHARE,
}
_MOST_VERSIONS = 2**31 - 1


def read_new_policy(message: pb.CreatePolicyRequest, _settings: Settings, faults: Faults) -> Policy:
    """The version that a request adds; what is wrong with it is added to `faults`."""
    policy, at = message.policy, "policy"
    limits: dict[str, Any] = {
        name: _read_limit(f"{at}.{name}", policy, name, bounds, faults) for name, bounds in LIMIT_BOUNDS.items()
    }
    if all(limit is None for limit in limits.values()):
        faults.add(at, f"must set at least one of {', '.join(LIMIT_BOUNDS)}")
    if message.previous_version >= _MOST_VERSIONS:
        faults.add("previous_version", f"must be below {_MOST_VERSIONS}, not {message.previous_version}")
    if policy.method_version and policy.method_version not in METHOD_VERSIONS:
        faults.add(f"{at}.method_version", f"must be one of {', '.join(METHOD_VERSIONS)}")
    policy_id = faults.identifier(f"{at}.policy_id", policy.policy_id)
    return Policy(
        id=policy_id,
        version=message.previous_version + 1,
        name=read_words(f"{at}.name", policy.name, faults) or policy_id,
        method_version=policy.method_version or METHOD_VERSIONS[0],
        **limits,
    )


def _read_limit(field: str, policy: pb.Policy, name: str, bounds: Bounds, faults: Faults) -> Decimal | None:
    if not policy.HasField(name):  # type: ignore[arg-type]
        return None
    return shortest_decimal(faults.number(field, getattr(policy, name), bounds))


def write_policy(policy: Policy) -> pb.Policy:
    """One version of a policy."""
    message = pb.Policy(
        policy_id=policy.id,
        version=policy.version,
        name=policy.name,
        method_version=policy.method_version,
        created_at=timestamp(policy.created_at),
    )
    for name in LIMIT_BOUNDS:
        limit = getattr(policy, name)
        if limit is not None:
            setattr(message, name, float(limit))
    return message


def write_remarks(remarks: Iterable[Remark]) -> list[rebalancing_pb2.PlanNote]:
    """Remarks of the kernel as notes of a plan."""
    return [
        rebalancing_pb2.PlanNote(code=remark.code, instrument_id=remark.instrument_id, message=remark.message)
        for remark in remarks
    ]
