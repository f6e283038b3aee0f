"""Answers of a service, small enough to check by eye."""

from portfolio_optimization.v1 import (
    common_pb2,
    estimation_pb2,
    factor_attribution_pb2,
    factor_models_pb2,
    factors_pb2,
    frontier_pb2,
    frontier_point_pb2,
    optimization_pb2,
    rebalancing_pb2,
    trade_pb2,
)

CURRENT = {"AAA": 0.5, "BBB": 0.25, "CCC": 0.2, "CASH": 0.05}
TARGET = {"AAA": 0.15, "BBB": 0.85}


def provenance():
    return estimation_pb2.Provenance(
        pricing_pack_id="pp-0123456789abcdef",
        first_date="2015-01-02",
        as_of="2022-12-28",
        observations=2012,
        expected_return_method=estimation_pb2.EXPECTED_RETURNS_METHOD_HISTORICAL_MEAN,
        risk_model_method=estimation_pb2.RISK_MODEL_METHOD_LEDOIT_WOLF,
        risk_free_rate=0.02,
    )


def limit(name, sense, value, price, *, binding=True):
    return common_pb2.ConstraintReport(
        name=name, unit="weight", sense=sense, limit=value, value=value, binding=binding, shadow_price=price
    )


def optimization(status="completed"):
    return optimization_pb2.GetOptimizationResponse(
        optimization_id="an-optimization",
        portfolio_id="sample-growth",
        status=status,
        metrics=optimization_pb2.OptimizationMetrics(
            expected_return=0.21,
            expected_volatility=0.19,
            sharpe_ratio=1.0,
            max_drawdown=0.4,
            turnover=0.6,
            value_at_risk=0.018,
            conditional_value_at_risk=0.027,
            confidence_level=0.975,
            effective_number_of_assets=1.3,
        ),
        current_allocation=CURRENT,
        target_allocation=TARGET,
        risk_contributions=[optimization_pb2.RiskContribution(instrument_id="BBB", percent=88.0)],
        outcome=common_pb2.Outcome(status=common_pb2.OUTCOME_STATUS_OPTIMAL),
        certificate=common_pb2.Certificate(
            objective_value=1.0, best_bound=1.0, duality_gap=2e-14, solver="PIQP", solver_version="0.6", iterations=9
        ),
        constraints=[
            limit("budget", common_pb2.CONSTRAINT_SENSE_EQUAL, 1.0, 9.0),
            limit("max_turnover", common_pb2.CONSTRAINT_SENSE_AT_MOST, 0.3, 0.08),
            limit("min_weights[AAA]", common_pb2.CONSTRAINT_SENSE_AT_LEAST, 0.15, 0.31),
            limit("max_position_size", common_pb2.CONSTRAINT_SENSE_AT_MOST, 0.9, 0.5, binding=False),
        ],
        provenance=provenance(),
        data_findings=[estimation_pb2.DataFinding(code="jump", message="CCC jumps by 60% on 2020-03-16")],
    )


def point(expected_return, risk, weights):
    return {"return": expected_return, "risk": risk, "sharpe": (expected_return - 0.02) / risk, "weights": weights}


def frontier():
    low, middle, high = (
        point(0.1, 0.1, {"CCC": 1.0}),
        point(0.15, 0.12, {"BBB": 0.5, "CCC": 0.5}),
        point(0.2, 0.2, TARGET),
    )
    return frontier_pb2.EfficientFrontierResponse(
        portfolio_id="sample-growth",
        efficient_frontier=[frontier_point_pb2.FrontierPoint(**part) for part in (low, middle, high)],
        turning_points=[frontier_point_pb2.FrontierPoint(**part) for part in (low, high)],
        current_portfolio=frontier_point_pb2.PortfolioPoint(**point(0.12, 0.15, CURRENT)),
        optimal_portfolio=frontier_point_pb2.PortfolioPoint(**middle),
        min_risk_portfolio=frontier_point_pb2.PortfolioPoint(**low),
        max_return_portfolio=frontier_point_pb2.PortfolioPoint(**high),
        outcome=common_pb2.Outcome(status=common_pb2.OUTCOME_STATUS_OPTIMAL, message="exact: 2 turning points"),
        provenance=provenance(),
    )


def trade(action, name, priority):
    return trade_pb2.Trade(
        action=action,
        instrument_id=name,
        quantity=1500,
        price_amount="20.50",
        estimated_value=30750.0,
        transaction_cost_amount="51.13",
        priority=priority,
        reason="Sell all of 20.00%, target 0.00%.",
    )


def plan(tax="1200.00"):
    return rebalancing_pb2.RebalancePlanResponse(
        trades=[trade("buy", "BBB", 2), trade("sell", "CCC", 1)],
        metrics=rebalancing_pb2.RebalanceMetrics(
            turnover=0.2,
            expected_improvement=rebalancing_pb2.ImprovementMetrics(**{"return": 0.03, "risk": -0.01, "sharpe": 0.2}),
            transaction_costs=102.26,
            tax_implications=float(tax),
            transaction_costs_amount="102.26",
            tax_amount=tax,
            gross_trade_amount="61500.00",
        ),
        portfolio_value_amount="150000.00",
        cash_before_amount="7500.00",
        cash_after_amount="7397.74",
        outcome=common_pb2.Outcome(status=common_pb2.OUTCOME_STATUS_OPTIMAL, message="No better trades exist."),
        tax=trade_pb2.TaxEstimate(
            lot_method=trade_pb2.LOT_METHOD_FIFO,
            sales=[
                trade_pb2.TaxLotSale(
                    instrument_id="CCC",
                    acquired_on="2020-03-23",
                    quantity="1500",
                    proceeds_amount="30750.00",
                    cost_amount="25708.00",
                    gain_amount="5042.00",
                    term=trade_pb2.HOLDING_TERM_LONG,
                )
            ],
            summary=trade_pb2.TaxSummary(
                short_term_gain_amount="0", long_term_gain_amount="5042.00", tax_amount="1200.00"
            ),
        ),
        notes=[rebalancing_pb2.PlanNote(code="below_min_trade_size", message="AAA stays: 40.00 is below 100.00")],
    )


def factors():
    return factors_pb2.FactorExposureResponse(
        portfolio_id="sample-growth",
        exposures=[exposure("market", 1.0, 0.8), exposure("value", 0.4, 0.1)],
        attribution=[
            factors_pb2.FactorAttribution(factor="value", contribution=0.05, percent_contribution=40.0),
            factors_pb2.FactorAttribution(factor="specific", contribution=0.075, percent_contribution=60.0),
        ],
        r_squared=0.9,
        observations=2012,
        first_date="2015-01-02",
        last_date="2022-12-28",
        total_return=0.125,
        benchmark_id="sample-sp500",
        benchmark_basis=factors_pb2.BENCHMARK_BASIS_WEIGHTS,
        standard_errors=factor_models_pb2.STANDARD_ERROR_METHOD_NEWEY_WEST,
        risk=risk(),
        active_risk=active_risk(),
        return_attribution=return_attribution(),
        sector_attribution=sector_attribution(),
    )


def exposure(factor, held, reference):
    return factors_pb2.FactorExposure(
        factor=factor,
        exposure=held,
        benchmark_exposure=reference,
        active_exposure=held - reference,
        standard_error=0.02,
        t_statistic=held / 0.02,
        benchmark_standard_error=0.01,
        active_standard_error=0.03,
    )


def risk():
    parts = [("AAA", 0.5, 0.05, 0.06, 55.0), ("BBB", 0.25, 0.03, 0.03, 30.0), ("CCC", 0.2, 0.02, 0.01, 15.0)]
    return factor_attribution_pb2.FactorRiskAttribution(
        volatility=0.20,
        factor_contribution=0.10,
        specific_contribution=0.10,
        factors=[
            factor_attribution_pb2.FactorRiskPart(
                factor="market", exposure=1.0, factor_volatility=0.16, correlation=0.75, contribution=0.12, percent=60.0
            ),
            factor_attribution_pb2.FactorRiskPart(
                factor="value", exposure=0.4, factor_volatility=0.1, correlation=-0.5, contribution=-0.02, percent=-10.0
            ),
        ],
        instruments=[
            factor_attribution_pb2.InstrumentRiskPart(
                instrument_id=name,
                weight=weight,
                factor_contribution=common,
                specific_contribution=own,
                contribution=common + own,
                percent=share,
            )
            for name, weight, common, own, share in parts
        ],
    )


def active_risk():
    return factor_attribution_pb2.FactorRiskAttribution(
        volatility=0.05,
        factor_contribution=0.02,
        specific_contribution=0.03,
        factors=[
            factor_attribution_pb2.FactorRiskPart(
                factor="market",
                exposure=0.2,
                factor_volatility=0.16,
                correlation=0.25,
                contribution=0.008,
                percent=16.0,
            ),
            factor_attribution_pb2.FactorRiskPart(
                factor="value", exposure=0.3, factor_volatility=0.1, correlation=0.4, contribution=0.012, percent=24.0
            ),
        ],
    )


def return_attribution():
    parts = [
        ("market", 0.80, 0.75, 0.06, 1.0),
        ("value", 0.10, 0.05, 0.05, 0.4),
        ("cash", 0.02, 0.0, 0.02, 0.0),
        ("specific", 0.28, 0.10, 0.17, 0.0),
    ]
    return factor_attribution_pb2.ReturnAttribution(
        first_date="2015-01-02",
        last_date="2022-12-28",
        observations=2012,
        linking="carino",
        portfolio_return=1.2,
        benchmark_return=0.9,
        active_return=0.3,
        parts=[
            factor_attribution_pb2.ReturnPart(
                source=source, portfolio=held, benchmark=reference, active=active, average_exposure=mean
            )
            for source, held, reference, active, mean in parts
        ],
    )


def sector_attribution():
    cash = factor_attribution_pb2.SectorEffect(
        sector="cash", portfolio_weight=0.05, portfolio_return=0.05, allocation=0.02
    )
    return factor_attribution_pb2.SectorAttribution(
        sectors=[
            factor_attribution_pb2.SectorEffect(
                sector=name,
                portfolio_weight=w,
                benchmark_weight=v,
                portfolio_return=r,
                benchmark_return=s,
                allocation=effects[0],
                selection=effects[1],
                interaction=effects[2],
            )
            for name, w, v, r, s, effects in (
                ("Health", 0.35, 0.6, 0.9, 0.8, (-0.01, 0.06, 0.03)),
                ("Technology", 0.6, 0.4, 1.5, 1.0, (0.05, 0.1, 0.05)),
            )
        ]
        + [cash],
        allocation=0.06,
        selection=0.16,
        interaction=0.08,
        active_return=0.3,
    )


def factors_alone():
    """Without a benchmark, and with exposures that were given."""
    answer = factors()
    for name in ("benchmark_id", "benchmark_basis", "active_risk", "sector_attribution", "standard_errors"):
        answer.ClearField(name)
    for one in answer.exposures:
        one.active_exposure = one.exposure
        for name in ("benchmark_exposure", "standard_error", "t_statistic"):
            one.ClearField(name)
        for name in ("benchmark_standard_error", "active_standard_error"):
            one.ClearField(name)
    for name in ("benchmark_return", "active_return"):
        answer.return_attribution.ClearField(name)
    for part in answer.return_attribution.parts:
        part.ClearField("benchmark")
        part.ClearField("active")
    return answer
