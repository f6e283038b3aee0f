"""The calls of RebalancingService on policies, preferences and drift."""

from __future__ import annotations

from portfolio_optimization.v1 import drift_pb2
from portfolio_optimization.v1 import policies_pb2 as pb

from server.convert.faults import Faults
from server.convert.policies import write_policy
from server.convert.text_values import write_day
from server.services.calls import Context, page_size, time_left
from server.services.pages import cut, read_policy_place, write_policy_place
from server.workflows.drift import DriftWorkflow
from server.workflows.policies import PolicyWorkflow
from server.workflows.preferences import PreferencesWorkflow


class PolicyCalls:
    """Policies, preferences and drift."""

    def __init__(self, policies: PolicyWorkflow, preferences: PreferencesWorkflow, drifts: DriftWorkflow) -> None:
        self._policies, self._preferences, self._drifts = policies, preferences, drifts

    async def GetDrift(self, request: drift_pb2.GetDriftRequest, context: Context) -> drift_pb2.GetDriftResponse:
        """How far a portfolio is from its target."""
        return await self._drifts.drift(request, time_left(context, self._drifts.longest_seconds))

    async def GetRebalancingPreferences(
        self, request: pb.GetRebalancingPreferencesRequest, context: Context
    ) -> pb.GetRebalancingPreferencesResponse:
        """How a portfolio is rebalanced."""
        _check_id("portfolio_id", request.portfolio_id)
        found = await self._preferences.find(request.portfolio_id)
        return pb.GetRebalancingPreferencesResponse(
            portfolio_id=request.portfolio_id,
            preferences=found.preferences,
            next_look_on=write_day(found.looks.next_on),
            last_look_on=write_day(found.looks.last_on),
            last_look_note=found.looks.last_note,
        )

    async def SetRebalancingPreferences(
        self, request: pb.SetRebalancingPreferencesRequest, context: Context
    ) -> pb.SetRebalancingPreferencesResponse:
        """Replace how a portfolio is rebalanced."""
        preferences = await self._preferences.replace(request)
        return pb.SetRebalancingPreferencesResponse(portfolio_id=request.portfolio_id, preferences=preferences)

    async def CreatePolicy(self, request: pb.CreatePolicyRequest, context: Context) -> pb.CreatePolicyResponse:
        """Store a policy, or a new version of it."""
        return pb.CreatePolicyResponse(policy=write_policy(await self._policies.create(request)))

    async def GetPolicy(self, request: pb.GetPolicyRequest, context: Context) -> pb.GetPolicyResponse:
        """One version of a policy."""
        _check_id("policy_id", request.policy_id)
        return pb.GetPolicyResponse(policy=write_policy(await self._policies.find(request.policy_id, request.version)))

    async def ListPolicies(self, request: pb.ListPoliciesRequest, context: Context) -> pb.ListPoliciesResponse:
        """Policies in the order of their ids and versions."""
        size, after = page_size(request.page_size), read_policy_place(request.page_token)
        rows = await self._policies.page(size + 1, after, older=request.include_older_versions)
        page = cut(rows, size, write_policy_place)
        return pb.ListPoliciesResponse(policies=map(write_policy, page.rows), next_page_token=page.next_token)


def _check_id(field: str, value: str) -> None:
    faults = Faults()
    faults.identifier(field, value)
    faults.check()
