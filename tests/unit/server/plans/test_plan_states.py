"""The state machine of plans: every pair of status and action, against a table written out by hand."""

from __future__ import annotations

from itertools import product

import pytest

from server.plans.states import (
    OPEN,
    TRANSITIONS,
    PlanAction,
    PlanStatus,
    is_repeated,
    possible_statuses,
    require_possible,
    require_target,
)
from storage.errors import Conflict

ENDS = ("rejected", "expired", "executed", "cancelled")
# What each action leads to; "same": it was done before; nothing: it is refused.
EXPECTED: dict[tuple[str, str], set[str]] = {
    ("proposed", "submit"): {"pending_approval", "approved"},
    ("proposed", "cancel"): {"cancelled"},
    ("proposed", "lapse"): {"expired"},
    ("pending_approval", "submit"): {"same"},
    ("pending_approval", "approve"): {"approved"},
    ("pending_approval", "reject"): {"rejected"},
    ("pending_approval", "cancel"): {"cancelled"},
    ("pending_approval", "lapse"): {"expired"},
    ("approved", "submit"): {"same"},
    ("approved", "approve"): {"same"},
    ("approved", "cancel"): {"cancelled"},
    ("approved", "lapse"): {"expired"},
    ("approved", "record"): {"executed", "cancelled"},
    ("rejected", "reject"): {"same"},
    ("cancelled", "cancel"): {"same"},
    ("expired", "lapse"): {"same"},
}


@pytest.mark.parametrize(("status", "action"), list(product(PlanStatus, PlanAction)))
def test_every_pair(status: PlanStatus, action: PlanAction) -> None:
    expected = EXPECTED.get((status, action), set())
    assert is_repeated(status, action) == (expected == {"same"})
    assert set(TRANSITIONS[status].get(action, ())) == expected - {"same"}
    for target in PlanStatus:
        if target in expected:
            require_target(status, action, target)
        else:
            with pytest.raises(ValueError, match=f"{action} does not lead from {status} to {target}"):
                require_target(status, action, target)


@pytest.mark.parametrize(("status", "action"), list(product(PlanStatus, PlanAction)))
def test_a_refusal_names_the_status_and_what_is_possible(status: PlanStatus, action: PlanAction) -> None:
    if EXPECTED.get((status, action), {"same"}) != {"same"}:
        require_possible("plan-1", status, action)
        return
    with pytest.raises(Conflict) as caught:
        require_possible("plan-1", status, action)
    text = str(caught.value)
    assert f"plan-1 is {status}" in text
    if status in ENDS:
        assert "at the end of its way" in text
    else:
        others = {name for (at, name), targets in EXPECTED.items() if at == status and targets != {"same"}} - {"lapse"}
        assert all(name in text.partition("possible:")[2] for name in others)
        assert "lapse" not in text.partition("possible:")[2]


@pytest.mark.parametrize("status", PlanStatus)
def test_what_can_follow_is_what_some_action_leads_to(status: PlanStatus) -> None:
    follows = {name for (at, _), targets in EXPECTED.items() if at == status for name in targets} - {"same"}
    assert set(possible_statuses(status, executing=False)) == follows
    assert (status in OPEN) == bool(follows) == (status not in ENDS)


def test_a_plan_under_execution_does_not_lapse() -> None:
    assert set(possible_statuses(PlanStatus.APPROVED, executing=True)) == {"executed", "cancelled"}
