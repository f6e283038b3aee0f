"""Trade plans with taxes on known cases: netting, harvesting, wash sales, lot methods and gains limits."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import cvxpy as cp
import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.rebalancing.lots import GainRates, LotMethod, TaxLot
from kernel.rebalancing.quality import BoundSource, Concession
from kernel.rebalancing.reasons import MissReason
from kernel.rebalancing.request import TrackingRisk, TradeDistance, TradeLimits, TradeRequest, TradeTax
from kernel.rebalancing.tax import NetGains, TaxRules
from kernel.rebalancing.trades import plan_trades
from kernel.rebalancing.wash_exposure import OpenLoss, WashExposure
from kernel.status import Status
from tests.unit.kernel.rebalancing.trade_requests import EXACT, decimals, quantities_of

TODAY = date(2026, 6, 1)
SHORT, LONG = timedelta(days=100), timedelta(days=500)
RULES = TaxRules(GainRates(Decimal("0.5"), Decimal("0.3")))


def lot(lot_id, quantity, unit_cost, age=LONG):
    return TaxLot(lot_id, Decimal(quantity), Decimal(unit_cost), TODAY - age)


def taxed(holdings, prices, targets, lots, cash=0, limits=None, **tax):
    given = {"method": LotMethod.LEAST_TAX, "weight": Decimal(1), "rules": RULES, "year_to_date": NetGains(), **tax}
    return TradeRequest(
        decimals(**holdings),
        Decimal(cash),
        decimals(**prices),
        decimals(**targets),
        limits=limits or TradeLimits(),
        search=EXACT,
        tax=TradeTax(lots={name: tuple(of) for name, of in lots.items()}, sold_on=TODAY, **given),
    )


def sold(plan):
    return {part.lot.lot_id: part.quantity for parts in plan.lot_sales.values() for part in parts}


def test_a_short_term_loss_nets_against_a_long_term_gain():
    """Betterment's own case: rate times gain lot by lot claims -106.50, the bill is 463 at 30%."""
    lots = {"A": [lot("a", 1, 3227, SHORT)], "B": [lot("b", 1, 310)]}
    plan = plan_trades(taxed({"A": 1, "B": 1}, {"A": 2000, "B": 2000}, {}, lots))
    assert plan.tax.gains == NetGains(Decimal(-1227), Decimal(1690))
    assert plan.tax.additional_tax == plan.quality.tax == Decimal("138.90")


def test_the_lots_are_chosen_for_the_netted_bill():
    """With a short-term gain of the year to offset the long-term loss saves as much as the short-term one: the larger
    is sold, though lot by lot the short-term one looks better."""
    lots = {"A": [lot("short", 10, 110, SHORT), lot("long", 10, 115)]}
    request = taxed({"A": 20}, {"A": 100}, {"A": "0.5"}, lots, year_to_date=NetGains(Decimal(1000)))
    assert sold(plan_trades(request)) == {"long": Decimal(10)}
    in_order = replace(request, tax=replace(request.tax, weight=Decimal(0)))
    assert sold(plan_trades(in_order)) == {"short": Decimal(10)}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (LotMethod.FIFO, {"old": 5, "middle": 1}),
        (LotMethod.LIFO, {"new": 5, "middle": 1}),
        (LotMethod.HIFO, {"middle": 5, "new": 1}),
    ],
)
def test_methods_fill_in_their_order(method, expected):
    lots = {"A": [lot("old", 5, 10), lot("middle", 5, 90, SHORT * 2), lot("new", 5, 50, SHORT)]}
    plan = plan_trades(taxed({"A": 15}, {"A": 100}, {"A": "0.6"}, lots, method=method))
    assert sold(plan) == expected


def test_named_lots_are_sold_and_no_others():
    lots = {"A": [lot("one", 5, 10), lot("two", 5, 90)]}
    request = taxed(
        {"A": 10},
        {"A": 100},
        {},
        lots,
        method=LotMethod.SPECIFIC,
        specific={"A": {"two": Decimal(3), "one": Decimal(1)}},
    )
    plan = plan_trades(request)
    assert sold(plan) == {"two": Decimal(3), "one": Decimal(1)}
    assert quantities_of(plan) == decimals(A=-4)


def test_a_gains_limit_stops_a_sale():
    """The known case of a gains budget: one share of the cheap lot makes 90 of 100."""
    lots = {"A": [lot("low", 50, 10), lot("high", 50, 100)]}
    limits = TradeLimits(max_realized_gain=Decimal(100))
    plan = plan_trades(taxed({"A": 100}, {"A": 100}, {}, lots, limits=limits, method=LotMethod.HIFO, weight=Decimal(0)))
    assert sold(plan) == {"high": 50, "low": 1}
    assert plan.tax.gains.total == 90


def test_a_tax_limit_is_kept_to_the_cent():
    lots = {"A": [lot("a", 100, "33.33")]}
    limits = TradeLimits(max_tax=Decimal("100.01"))
    plan = plan_trades(taxed({"A": 100}, {"A": 100}, {}, lots, limits=limits, weight=Decimal(0)))
    assert quantities_of(plan) == decimals(A=-5)
    assert plan.tax.additional_tax == Decimal("100.01") - Decimal("0.00")


def test_losses_are_harvested_only_when_asked_for():
    """Two points of overweight call for one share; a loss of 60 each at 50% would pay for more."""
    lots = {"A": [lot("a", 10, 260, SHORT)], "B": [lot("b", 10, 100)]}
    request = taxed({"A": 10, "B": 10}, {"A": 100, "B": 100}, {"A": "0.5", "B": "0.5"}, lots, weight=Decimal(2))
    request = replace(request, tax=replace(request.tax, year_to_date=NetGains(Decimal(10_000))))
    assert plan_trades(request).trades == ()
    harvest = plan_trades(replace(request, tax=replace(request.tax, harvest_losses=True)))
    assert sold(harvest) == {"a": 10}
    assert harvest.quality.tax == -800


def test_risk_does_not_harvest_unasked():
    lots = {"A": [lot("a", 10, 200, SHORT)], "B": [lot("b", 10, 100)]}
    request = taxed({"A": 10, "B": 10}, {"A": 100, "B": 100}, {"A": "0.4", "B": "0.6"}, lots)
    risk = TrackingRisk(("A", "B"), np.zeros((2, 0)), np.full(2, 0.04), np.array([0.4, 0.6]))
    request = replace(
        request,
        distance=TradeDistance.TRACKING_RISK,
        risk=risk,
        tax=replace(request.tax, year_to_date=NetGains(Decimal(10_000))),
    )
    assert sold(plan_trades(request)) == {"a": 3}
    harvest = plan_trades(replace(request, tax=replace(request.tax, harvest_losses=True)))
    assert sold(harvest) == {"a": 10}


def test_short_term_gains_wait_unless_cash_needs_them():
    lots = {"A": [lot("gain", 10, 50, SHORT), lot("old", 2, 50)]}
    request = taxed({"A": 12}, {"A": 100}, {}, lots, avoid_short_term_gains=True)
    plan = plan_trades(request)
    assert (sold(plan), plan.concessions) == ({"old": 2}, ())
    needed = plan_trades(replace(request, limits=TradeLimits(min_cash=Decimal(500))))
    assert sold(needed) == {"old": 2, "gain": 3}
    assert needed.concessions == (Concession.SHORT_TERM_GAINS,)


def washed(price_wash_sales, **exposure):
    lots = {"A": [lot("old", 10, 150), lot("new", 4, 120, timedelta(days=10))]}
    return taxed(
        {"A": 14},
        {"A": 100},
        {},
        lots,
        wash={"A": WashExposure(**exposure)},
        price_wash_sales=price_wash_sales,
        method=LotMethod.FIFO,
        rules=replace(RULES, loss_limit=Decimal(3000)),
    )


def test_a_replacement_in_another_account_bars_losses():
    plan = plan_trades(washed(False, replacements=Decimal(3)))
    assert (plan.trades, plan.disallowed) == ((), 0)


def test_a_replacement_disallows_as_many_shares_as_it_has():
    """Ten shares at a loss of 50 and four at 20; three of the oldest are disallowed."""
    plan = plan_trades(washed(True, replacements=Decimal(3)))
    assert plan.disallowed == plan.tax.disallowed == 150
    assert plan.tax.gains.total == -(500 + 80 - 150)


def test_own_replacements_do_not_count_when_they_are_sold():
    plan = plan_trades(washed(False, replacements=Decimal(4), own=(("new", Decimal(4)),)))
    assert (sold(plan), plan.disallowed) == ({"old": 10, "new": 4}, 0)
    kept = washed(False, replacements=Decimal(4), own=(("new", Decimal(4)),))
    part = plan_trades(replace(kept, target_weights=decimals(A="0.5")))
    assert part.trades == ()


@pytest.mark.parametrize(("literal", "disallowed"), [(False, 0), (True, 40)])
def test_parts_of_one_purchase_replace_each_other_by_the_letter_only(literal, disallowed):
    """Four of eight shares are sold at a loss of 20; two of the four that stay are replacements."""
    lots = {"A": [lot("new", 4, 120, timedelta(days=10)), lot("new~1", 4, 120, timedelta(days=10))]}
    exposure = WashExposure(Decimal(2), (("new~1", Decimal(2)),), literal=literal)
    request = taxed(
        {"A": 8},
        {"A": 100},
        {"A": "0.5"},
        lots,
        wash={"A": exposure},
        price_wash_sales=True,
        method=LotMethod.FIFO,
        rules=replace(RULES, loss_limit=Decimal(3000)),
    )
    plan = plan_trades(request)
    assert (sold(plan), plan.disallowed) == ({"new": 4}, disallowed)


def test_a_purchase_of_what_is_identical_takes_a_loss_back():
    loss = OpenLoss(Decimal(2), Decimal(30), short_term=True, until=TODAY + timedelta(days=5))
    wash = {"A": WashExposure(open_losses=(loss,), identical=frozenset({"B"}))}
    request = taxed({}, {"B": 100}, {"B": 1}, {}, cash=300, wash=wash)
    assert plan_trades(request).trades == ()
    priced = plan_trades(replace(request, tax=replace(request.tax, price_wash_sales=True)))
    assert priced.disallowed == 60


def test_a_purchase_after_a_loss_is_barred_or_priced():
    loss = OpenLoss(Decimal(2), Decimal(30), short_term=True, until=TODAY + timedelta(days=5))
    request = taxed({}, {"A": 100}, {"A": 1}, {}, cash=300, wash={"A": WashExposure(open_losses=(loss,))})
    request = replace(request, tax=replace(request.tax, year_to_date=NetGains(Decimal(1000))))
    barred = plan_trades(request)
    assert barred.trades == ()
    assert [miss.reason for miss in barred.misses] == [MissReason.WASH_SALE]
    priced = plan_trades(replace(request, tax=replace(request.tax, price_wash_sales=True)))
    assert quantities_of(priced) == decimals(A=3)
    assert (priced.disallowed, priced.quality.tax) == (60, 30)
    after = plan_trades(replace(request, tax=replace(request.tax, sold_on=loss.until)))
    assert quantities_of(after) == decimals(A=3)


def test_what_is_identical_is_not_bought_beside_a_loss():
    lots = {"A": [lot("a", 10, 150)]}
    request = taxed(
        {"A": 10}, {"A": 100, "B": 100}, {"B": 1}, lots, wash={"A": WashExposure(identical=frozenset({"B"}))}
    )
    bought = {trade.instrument_id for trade in plan_trades(request).trades}
    assert bought in ({"A"}, set())


def test_the_envelope_makes_the_relaxation_close():
    """Twelve names at their targets, all with loss lots: splitting each into a sale and a purchase fools the plain
    relaxation; the perspective of the specific risk does not let it."""
    names = [f"N{i:02d}" for i in range(12)]
    lots = {name: [lot(f"{name}-a", 50, 110 + 2 * i, SHORT), lot(f"{name}-b", 50, 60)] for i, name in enumerate(names)}
    request = taxed(
        dict.fromkeys(names, 100),
        dict.fromkeys(names, 100),
        dict.fromkeys(names, "0.083333"),
        lots,
        harvest_losses=True,
    )
    specific = np.full(12, 0.09)
    risk = TrackingRisk(tuple(names), np.full((12, 1), 0.15), specific, np.full(12, 1 / 12), aversion=40.0)
    request = replace(
        request,
        distance=TradeDistance.TRACKING_RISK,
        risk=risk,
        tax=replace(request.tax, year_to_date=NetGains(Decimal(10_000))),
    )
    plan = plan_trades(request)
    plain = plain_relaxation(request)
    assert plan.quality.bound_source is BoundSource.EXACT
    assert plan.quality.relaxation_bound <= plan.quality.lower_bound <= plan.objective
    assert plan.objective - plan.quality.relaxation_bound < (plan.objective - Decimal(plain)) / 5


def plain_relaxation(request):
    """Risk plus rate times gain, sales and purchases of a name both at once: what is usually relaxed."""
    names, risk, total = list(request.holdings), request.risk, 120_000.0
    loss = np.array([float(100 - request.tax.lots[name][0].unit_cost) for name in names])
    sale, purchase = cp.Variable(len(names), nonneg=True), cp.Variable(len(names), nonneg=True)
    weights = (100.0 + purchase - sale) * 100.0 / total
    active = weights - risk.reference
    variance = cp.sum_squares(risk.factors.T @ active) + cp.sum(cp.multiply(risk.specific, cp.square(active)))
    objective = risk.aversion / 2 * total * variance + 0.5 * loss @ sale
    problem = cp.Problem(cp.Minimize(objective), [sale <= 50.0, 100.0 * cp.sum(purchase - sale) <= 0.0])
    return problem.solve(solver=cp.CLARABEL)


def test_a_tax_limit_of_nothing_is_kept_by_doing_nothing():
    lots = {"A": [lot("a", 10, 50)]}
    limits = TradeLimits(max_tax=Decimal(0), do_not_buy=frozenset({"A"}), do_not_sell=frozenset({"A"}))
    request = taxed({"A": 10}, {"A": 100}, {}, lots, limits=limits, year_to_date=NetGains(Decimal(2), Decimal("10.10")))
    assert plan_trades(request).status is Status.OPTIMAL


def test_lots_that_do_not_cover_a_holding_are_refused():
    with pytest.raises(ProblemError, match="fewer than the holding") as raised:
        plan_trades(taxed({"A": 10}, {"A": 100}, {}, {"A": [lot("a", 9, 50)]}))
    assert raised.value.field == "tax.lots[A]"


def test_without_a_plan_nothing_is_taxed():
    lots = {"A": [lot("a", 10, 50)]}
    request = taxed({"A": 10}, {"A": 100}, {}, lots, limits=TradeLimits(min_cash=Decimal(2000)))
    plan = plan_trades(request)
    assert (plan.status, plan.tax.additional_tax, plan.lot_sales) == (Status.INFEASIBLE, 0, {})
