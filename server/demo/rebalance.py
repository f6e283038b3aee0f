"""The rebalance plan, readable: trades, cash, costs, tax lot by lot, and what they are expected to bring."""

from __future__ import annotations

from portfolio_optimization.v1 import common_pb2, rebalancing_pb2, trade_pb2

from server.demo.text import money, paragraph, percent, points, shares, table, words

_MONTHS = 12
_TERMS = {trade_pb2.HOLDING_TERM_SHORT: "short", trade_pb2.HOLDING_TERM_LONG: "long"}


def plan_lines(
    plan: rebalancing_pb2.RebalancePlanResponse, least_tax: rebalancing_pb2.RebalancePlanResponse
) -> list[str]:
    """All of a plan.

    Args:
        plan: The plan.
        least_tax: The plan that would sell the lots of least tax, to compare the tax.
    """
    notes = [line for note in plan.notes for line in paragraph(f"! {note.message}", indent="  ")]
    return [
        *_trades(plan),
        *notes,
        "",
        *_money(plan),
        "",
        *_tax(plan.tax),
        _saving(plan, least_tax),
        "",
        *_improvement(plan),
        "",
        *_evidence(plan),
    ]


def _trades(plan: rebalancing_pb2.RebalancePlanResponse) -> list[str]:
    columns = ("<Side", "<Name", ">Shares", ">Price", ">Value", ">Cost", "<Reason")
    total = ("", "", "", "", money(plan.metrics.gross_trade_amount), money(plan.metrics.transaction_costs_amount), "")
    rows = [_trade_row(trade) for trade in sorted(plan.trades, key=lambda trade: trade.priority)]
    return ["Trades in the order of execution:", *table(columns, [*rows, total])]


def _trade_row(trade: trade_pb2.Trade) -> tuple[str, ...]:
    return (
        trade.action,
        trade.instrument_id,
        shares(trade.quantity),
        trade.price_amount,
        money(trade.estimated_value),
        money(trade.transaction_cost_amount),
        trade.reason.removesuffix("."),
    )


def _money(plan: rebalancing_pb2.RebalancePlanResponse) -> list[str]:
    metrics = plan.metrics
    gross = float(metrics.gross_trade_amount or 0)
    cost_share = percent(metrics.transaction_costs / gross) if gross else percent(0)
    rows = [
        ("Portfolio value", money(plan.portfolio_value_amount), ""),
        ("Cash before", money(plan.cash_before_amount), ""),
        ("Cash after", money(plan.cash_after_amount), "trades and their costs paid, tax not: it is due later"),
        ("Turnover", percent(metrics.turnover), "of the portfolio, one way"),
        ("Costs of trading", money(metrics.transaction_costs_amount), f"{cost_share} of the value traded"),
        ("Tax on gains", money(metrics.tax_amount), "gains and losses netted"),
    ]
    return table(("<", ">", "<"), rows)


def _tax(tax: trade_pb2.TaxEstimate) -> list[str]:
    method = words(trade_pb2.LotMethod.Name(tax.lot_method), "LOT_METHOD_").upper()
    columns = ("<Lot", "<Acquired", ">Shares", ">Proceeds", ">Cost", ">Gain", "<Term")
    summary = tax.summary
    return [
        f"Tax lots sold ({method}):",
        *table(columns, [_lot_row(sale) for sale in tax.sales]),
        f"Net gain: short term {money(summary.short_term_gain_amount)}, "
        f"long term {money(summary.long_term_gain_amount)}; tax {money(summary.tax_amount)}",
    ]


def _lot_row(sale: trade_pb2.TaxLotSale) -> tuple[str, ...]:
    return (
        sale.instrument_id,
        sale.acquired_on,
        shares(sale.quantity),
        money(sale.proceeds_amount),
        money(sale.cost_amount),
        money(sale.gain_amount),
        _TERMS.get(sale.term, "not known"),
    )


def _saving(plan: rebalancing_pb2.RebalancePlanResponse, least_tax: rebalancing_pb2.RebalancePlanResponse) -> str:
    saved = plan.metrics.tax_implications - least_tax.metrics.tax_implications
    return (
        f"With the choice of lots by least tax it would be {money(least_tax.metrics.tax_amount)} ({money(saved)} saved)"
    )


def _improvement(plan: rebalancing_pb2.RebalancePlanResponse) -> list[str]:
    metrics, gain = plan.metrics, plan.metrics.expected_improvement
    more_return: float = getattr(gain, "return")
    rows = [
        ("Expected return", points(more_return), "points a year"),
        ("Volatility", points(gain.risk), "points a year"),
        ("Sharpe ratio", f"{gain.sharpe:+.3f}", ""),
    ]
    if metrics.HasField("tracking_error_after"):
        before, after = metrics.tracking_error_before, metrics.tracking_error_after
        rows.append(("Tracking error", points(after - before), f"points a year, from {percent(before)}"))
    return ["Expected change:", *table(("<", ">", "<"), rows), *_payback(plan, more_return)]


def _payback(plan: rebalancing_pb2.RebalancePlanResponse, more_return: float) -> list[str]:
    price = plan.metrics.transaction_costs + plan.metrics.tax_implications
    share = price / float(plan.portfolio_value_amount)
    if more_return <= 0 or share <= 0:
        return []
    months = _MONTHS * share / more_return
    return paragraph(
        f"Costs and tax are {percent(share)} of the portfolio: what the higher expected return earns in "
        f"{months:.0f} months."
    )


def _evidence(plan: rebalancing_pb2.RebalancePlanResponse) -> list[str]:
    status = words(common_pb2.OutcomeStatus.Name(plan.outcome.status), "OUTCOME_STATUS_")
    proof = plan.certificate
    how = f" ({proof.solver} {proof.solver_version}, {1000 * proof.solve_seconds:.0f} ms)" if proof.solver else ""
    return paragraph(f"Proof: {status}. {plan.outcome.message}{how}", indent="  ")
