"""Taxes of trades, to the wire."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from portfolio_optimization.v1 import rebalancing_pb2 as pb
from portfolio_optimization.v1 import trade_pb2

from kernel.rebalancing.household import SettledSale, WashMatch
from kernel.rebalancing.lots import Term
from kernel.rebalancing.money import to_cents
from kernel.rebalancing.tax import SalesTax
from kernel.rebalancing.wash_exposure import PurchaseLock
from server.compute.taxed_trades import TaxedTrades, is_planned
from server.compute.taxes import LotToWaitFor, SlicedLot, TaxAssessment
from server.convert.text_values import write_day, write_decimal
from server.convert.trade_limits import LOT_METHODS

_TERMS = {Term.SHORT: trade_pb2.HOLDING_TERM_SHORT, Term.LONG: trade_pb2.HOLDING_TERM_LONG}


def write_taxes(message: pb.RebalancePlanResponse, assessment: TaxAssessment) -> None:
    """What a plan means for tax: its sales lot by lot, the same under other choices, locks, advice and wash sales."""
    tax = assessment.chosen.tax
    message.tax.CopyFrom(write_estimate(assessment.chosen))
    message.tax_alternatives.extend(map(write_estimate, assessment.alternatives))
    message.metrics.tax_implications = float(tax.additional_tax)
    message.metrics.tax_amount = write_decimal(tax.additional_tax)
    message.purchase_locks.extend(_write_lock(name, lock) for name, lock in assessment.locks.items())
    message.lot_advice.extend(map(_write_advice, assessment.lots_to_wait_for))
    message.notes.extend(_wash_notes(assessment.chosen))
    message.notes.extend(_sliced_note(lot, assessment.chosen.sold_on) for lot in assessment.sliced)


def write_estimate(taxed: TaxedTrades) -> trade_pb2.TaxEstimate:
    """The tax of trades under one choice of lots."""
    return trade_pb2.TaxEstimate(
        lot_method=LOT_METHODS[taxed.method],
        sales=map(_write_sale, taxed.sales),
        summary=_write_summary(taxed.tax),
        sale_date=write_day(taxed.sold_on),
    )


def _write_summary(tax: SalesTax) -> trade_pb2.TaxSummary:
    """The sum. Carried and deducted losses are those of the year after the sales."""
    return trade_pb2.TaxSummary(
        short_term_gain_amount=write_decimal(tax.gains.short_term),
        long_term_gain_amount=write_decimal(tax.gains.long_term),
        tax_amount=write_decimal(tax.additional_tax),
        disallowed_loss_amount=write_decimal(tax.disallowed),
        carried_loss_amount=write_decimal(tax.after.carried_total),
        lost_loss_amount=write_decimal(tax.lost),
        carried_short_term_loss_amount=write_decimal(tax.after.carried_short_term),
        carried_long_term_loss_amount=write_decimal(tax.after.carried_long_term),
        deducted_loss_amount=write_decimal(tax.after.deduction),
        tax_before_amount=write_decimal(tax.before.tax),
        tax_after_amount=write_decimal(tax.after.tax),
    )


def _write_sale(sale: SettledSale) -> trade_pb2.TaxLotSale:
    return trade_pb2.TaxLotSale(
        lot_id=sale.lot_id,
        instrument_id=sale.instrument_id,
        acquired_on=write_day(sale.acquired_on) if sale.dated else "",
        quantity=write_decimal(sale.quantity),
        proceeds_amount=write_decimal(sale.proceeds),
        cost_amount=write_decimal(sale.cost_basis) if sale.priced else "",
        gain_amount=write_decimal(sale.gain) if sale.priced else "",
        term=_TERMS[sale.term] if sale.dated else trade_pb2.HOLDING_TERM_UNSPECIFIED,
        disallowed_loss_amount=write_decimal(sale.disallowed),
        lost_loss_amount=write_decimal(sale.lost),
        wash_sales=map(write_match, sale.matches),
    )


def write_match(match: WashMatch) -> trade_pb2.WashSaleMatch:
    """Shares sold at a loss and what replaces them."""
    return trade_pb2.WashSaleMatch(
        replacement_lot_id="" if is_planned(match.lot_id) else match.lot_id,
        portfolio_id=match.account_id,
        instrument_id=match.instrument_id,
        acquired_on=write_day(match.acquired_on),
        quantity=write_decimal(match.quantity),
        disallowed_loss_amount=write_decimal(match.disallowed),
        lost=match.lost,
        holding_period_from=write_day(match.holding_from),
    )


def _write_lock(instrument_id: str, lock: PurchaseLock) -> pb.PurchaseLock:
    return pb.PurchaseLock(
        instrument_id=instrument_id,
        until=write_day(lock.until),
        loss_at_risk_amount=write_decimal(lock.loss_at_risk),
    )


def _write_advice(lot: LotToWaitFor) -> pb.LotAdvice:
    return pb.LotAdvice(
        lot_id=lot.lot_id,
        instrument_id=lot.instrument_id,
        long_term_from=write_day(lot.advice.long_term_from),
        days_to_wait=lot.advice.days_to_wait,
        tax_saved_amount=write_decimal(to_cents(lot.advice.tax_saved)),
        risk_amount=write_decimal(lot.risk),
        sold=lot.sold,
    )


def _wash_notes(taxed: TaxedTrades) -> Iterable[pb.PlanNote]:
    """One sentence for each loss of the trades that is disallowed, or of earlier ones that purchases take back."""
    for sale in (*taxed.sales, *taxed.earlier):
        if not sale.disallowed:
            continue
        what = "the sale" if sale.quantity else f"the sale on {sale.sold_on.isoformat()}"
        names = ", ".join(sorted({match.instrument_id for match in sale.matches}))
        text = (
            f"{sale.disallowed:f} of the loss of {what} of {sale.instrument_id} is disallowed by purchases of {names}"
        )
        if sale.lost:
            text += f", {sale.lost:f} of it for good, because they are in a retirement account"
        if sale.account_id != taxed.account_id:
            text += f"; that sale was in portfolio {sale.account_id}, so this plan's tax is without it"
        if sale.sold_on.year < taxed.sold_on.year:
            text += f"; the return of {sale.sold_on.year} is to be amended, and losses carried over from it shrink"
        yield pb.PlanNote(code="wash_sale", instrument_id=sale.instrument_id, message=text)


def _sliced_note(lot: SlicedLot, sold_on: date) -> pb.PlanNote:
    text = (
        f"the last slice of the sale of {lot.instrument_id} is for {lot.last_day.isoformat()}, but lot {lot.lot_id} is "
        f"long-term from {lot.long_term_from.isoformat()}; its tax is that of {sold_on.isoformat()}, short-term"
    )
    return pb.PlanNote(code="sliced_term", instrument_id=lot.instrument_id, message=text)
