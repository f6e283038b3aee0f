"""Estimates and data findings, to the wire."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy
from portfolio_optimization.v1 import estimation_pb2 as pb

import kernel
from kernel.estimation.data_checks import Finding, Severity
from server.compute.estimate import Estimate
from server.compute.inputs import MarketInputs
from server.convert.models import RETURNS_METHODS, RISK_METHODS
from server.specs import OptimizationSpec

VERSIONS = {"kernel": kernel.__version__, "numpy": np.__version__, "scipy": scipy.__version__}
_SEVERITIES = {
    Severity.WARNING: pb.DATA_FINDING_SEVERITY_WARNING,
    Severity.ERROR: pb.DATA_FINDING_SEVERITY_ERROR,
}


def write_provenance(pack_id: str, estimate: Estimate, spec: OptimizationSpec, solver: str) -> pb.Provenance:
    """Where the numbers of an answer come from."""
    model = spec.model
    return pb.Provenance(
        pricing_pack_id=pack_id,
        as_of=estimate.window.as_of,
        first_date=estimate.window.first_date,
        observations=estimate.window.observations,
        expected_return_method=RETURNS_METHODS[estimate.returns_method],
        risk_model_method=RISK_METHODS[estimate.risk_method],
        shrinkage_intensity=estimate.shrinkage,
        covariance_repair_distance=estimate.repair_distance,
        risk_free_rate=model.risk_free_rate,
        periods_per_year=estimate.scenarios.periods_per_year,
        versions=VERSIONS | ({"solver": solver} if solver else {}),
        scenarios_id="" if model.scenarios is None else model.scenarios.id,
        forecast_id=model.returns.forecast_id,
        covariance_id=model.risk.covariance_id,
        factor_exposures_id=spec.constraints.exposures.id,
        factor_set_id=estimate.factor_set_id,
        factor_model_id=estimate.factor_model_ids[0],
        expected_return_factor_model_id=estimate.factor_model_ids[1],
        constraints_factor_model_id=spec.constraints.factor_model_id,
        expected_return_shrinkage=estimate.returns_shrinkage,
    )


def write_plan_provenance(market: MarketInputs, estimate: Estimate | None, spec: OptimizationSpec) -> pb.Provenance:
    """Where the numbers of a plan come from; without an estimate, the prices alone."""
    if estimate is not None:
        return write_provenance(market.pricing_pack_id, estimate, spec, "")
    return pb.Provenance(pricing_pack_id=market.pricing_pack_id, as_of=str(market.dates[-1]), versions=VERSIONS)


def write_findings(findings: Iterable[Finding]) -> list[pb.DataFinding]:
    """What the data checks noticed."""
    return [
        pb.DataFinding(
            code=finding.code.value,
            instrument_id=finding.instrument_id or "",
            date="" if finding.date is None else str(finding.date),
            message=finding.message,
            severity=_SEVERITIES[finding.severity],
        )
        for finding in findings
    ]
