"""Every set of trades of a small request, one by one, in plain Decimals, without a solver or the kernel's formulas."""

import itertools
import math
from dataclasses import dataclass, field
from decimal import Decimal

from kernel.rebalancing.lots import LotMethod
from kernel.rebalancing.request import TradeDistance

ZERO = Decimal(0)
CENT = Decimal("0.01")


def cents(amount):
    return amount.quantize(CENT, "ROUND_HALF_UP")


def is_long(lot, day):
    """Held for more than a year; the cases have no acquisitions near an anniversary."""
    return (day - lot.acquired_on).days > 366


@dataclass
class Choice:
    """One trade of one instrument, with the lots of a sale."""

    name: str
    quantity: Decimal
    parts: dict = field(default_factory=dict)


@dataclass
class Outcome:
    objective: Decimal
    distance: Decimal
    cost: Decimal
    tax: Decimal
    cash: Decimal
    turnover: Decimal
    tracking_error: float
    short_term: Decimal
    choices: tuple


def lot_order(request, name):
    tax, price = request.tax, request.prices[name]
    lots = list(tax.lots[name])
    rates = tax.rules.rates

    def rate(lot):
        return rates.long_term if is_long(lot, tax.sold_on) else rates.short_term

    def group(lot):
        return 0 if price <= lot.unit_cost else 1 if is_long(lot, tax.sold_on) else 2

    keys = {
        LotMethod.FIFO: lambda lot: 0,
        LotMethod.LIFO: lambda lot: -lot.acquired_on.toordinal(),
        LotMethod.HIFO: lambda lot: -lot.unit_cost,
        LotMethod.LEAST_TAX: lambda lot: (price - lot.unit_cost) * rate(lot),
        LotMethod.AVOID_SHORT_TERM: lambda lot: (group(lot), price - lot.unit_cost),
    }
    return sorted(lots, key=lambda lot: (keys[tax.method](lot), lot.acquired_on, lot.lot_id))


def sales_of(request, name, most):
    """All sales of up to a number of shares, with all ways to fill them that the method allows."""
    tax = request.tax
    if tax is None or not tax.lots.get(name):
        return [Choice(name, Decimal(-q)) for q in range(1, most + 1)]
    order = lot_order(request, name)
    if tax.method is LotMethod.LEAST_TAX and tax.weight > 0:
        ways = itertools.product(*(range(int(lot.quantity) + 1) for lot in order))
        filled = [dict(zip((lot.lot_id for lot in order), way, strict=True)) for way in ways]
        return [
            Choice(name, -Decimal(sum(w.values())), {k: Decimal(v) for k, v in w.items() if v})
            for w in filled
            if 0 < sum(w.values()) <= most
        ]
    choices = []
    for quantity in range(1, most + 1):
        left, parts = Decimal(quantity), {}
        for lot in order:
            if part := min(left, lot.quantity):
                parts[lot.lot_id] = part
                left -= part
        choices.append(Choice(name, Decimal(-quantity), parts))
    return choices


class Enumeration:
    """The request taken apart."""

    def __init__(self, request):
        self.request = request
        self.names = sorted(
            {n for n, q in request.holdings.items() if q} | {n for n, w in request.target_weights.items() if w}
        )
        self.held = {n: request.holdings.get(n, ZERO) for n in self.names}
        self.total = request.cash + sum((self.held[n] * request.prices[n] for n in self.names), ZERO)
        self.target = {n: request.target_weights.get(n, ZERO) * self.total for n in self.names}
        self.lots = (
            {n: {lot.lot_id: lot for lot in request.tax.lots.get(n, ())} for n in self.names} if request.tax else {}
        )

    def choices(self, name, stage):
        request, limits, tax = self.request, self.request.limits, self.request.tax
        price, held = request.prices[name], int(self.held[name])
        aim = self.target[name] / price - held
        passes = stage["past"] or request.distance is TradeDistance.TRACKING_RISK
        short_of_cash = request.cash < limits.min_cash
        wealth = sum((self.held[n] * request.prices[n] for n in self.names), request.cash)
        most_bought = int(wealth / price) + 1 if passes else max(0, math.ceil(aim))
        most_sold = held if passes or short_of_cash else (math.floor(-aim) + 1 if aim < 0 else 0)
        losses = [lot for lot in self.lots.get(name, {}).values() if lot.unit_cost > price]
        if tax and tax.harvest_losses and tax.weight:
            most_sold = max(most_sold, int(sum(lot.quantity for lot in losses)))
        most_sold = min(most_sold, held)
        found = [Choice(name, ZERO)]
        if name not in limits.do_not_buy:
            found += [Choice(name, Decimal(q)) for q in range(1, most_bought + 1)]
        if name not in limits.do_not_sell:
            found += sales_of(request, name, most_sold)
        called = ZERO if aim >= 0 else Decimal(math.floor(-aim) + 1)
        caps = tax and tax.weight and not tax.harvest_losses and not stage["past"] and not short_of_cash
        return [c for c in found if self.allowed(c, stage, called if caps else None, {lot.lot_id for lot in losses})]

    def allowed(self, choice, stage, called, losses):
        tax, limits = self.request.tax, self.request.limits
        size = abs(choice.quantity) * self.request.prices[choice.name]
        if choice.quantity and choice.quantity != -self.held[choice.name] and size < limits.min_trade_value:
            return False
        if called is not None and sum((q for k, q in choice.parts.items() if k in losses), ZERO) > called:
            return False
        if tax and tax.avoid_short_term_gains and not stage["short"]:
            lots = self.lots[choice.name]
            return not any(
                lots[k].unit_cost < self.request.prices[choice.name] and not is_long(lots[k], tax.sold_on)
                for k in choice.parts
            )
        return True

    def gains(self, picked):
        """Net gains by term, losses disallowed, short-term gains, or None for a wash sale that is not allowed."""
        tax = self.request.tax
        short = long = back_short = back_long = short_term = ZERO
        bought = {c.name for c in picked if c.quantity > 0}
        for c in picked:
            exposure = tax.wash.get(c.name)
            if c.quantity > 0 and exposure:
                left = c.quantity
                for loss in exposure.open_losses:
                    taken = min(left, loss.quantity)
                    left -= taken
                    back_short += taken * loss.loss_per_share if loss.short_term else 0
                    back_long += 0 if loss.short_term else taken * loss.loss_per_share
            price, lots = self.request.prices[c.name], self.lots[c.name]
            own = {k: min(q, lots[k].quantity - c.parts.get(k, ZERO)) for k, q in (exposure.own if exposure else ())}
            elsewhere = exposure.replacements - sum(q for _, q in exposure.own) if exposure else ZERO
            used = 0
            for k, quantity in sorted(c.parts.items(), key=lambda part: (lots[part[0]].acquired_on, part[0])):
                gain, is_long_term = price - lots[k].unit_cost, is_long(lots[k], tax.sold_on)
                if gain < 0 and exposure and exposure.identical & bought:
                    return None
                refused = ZERO
                if gain < 0:
                    others = elsewhere + sum((q for other, q in own.items() if exposure.literal or other != k), ZERO)
                    refused = max(ZERO, min(quantity, others - used))
                    used += refused
                if is_long_term:
                    long, back_long = long + gain * quantity, back_long - gain * refused
                else:
                    short, back_short = short + gain * quantity, back_short - gain * refused
                    short_term += max(ZERO, gain) * quantity
        if (back_short or back_long) and not tax.price_wash_sales:
            return None
        return short + back_short, long + back_long, short_term

    def tax_on(self, short, long):
        """Netting step by step, as the form does."""
        rules = self.request.tax.rules
        if short < 0 < long:
            long, short = (long + short, ZERO) if long + short >= 0 else (ZERO, long + short)
        elif long < 0 < short:
            long, short = (ZERO, short + long) if short + long >= 0 else (short + long, ZERO)
        loss = -min(ZERO, short) - min(ZERO, long)
        used = min(loss, rules.loss_limit)
        income = rules.rates.short_term if rules.ordinary_rate is None else rules.ordinary_rate
        tax = rules.rates.short_term * max(ZERO, short) + rules.rates.long_term * max(ZERO, long)
        return tax - income * used - rules.carried_loss_value * (loss - used)

    def outcome(self, picked):
        """What a set of trades leads to; None where it breaks a limit."""
        request, limits = self.request, self.request.limits
        cash, cost, traded = request.cash, ZERO, ZERO
        for c in picked:
            if not c.quantity:
                continue
            value = abs(c.quantity) * request.prices[c.name]
            charge = request.costs.commission + value * request.costs.impact_bps / 10_000
            if power := request.costs.power.get(c.name):
                charge += power.coefficient * power.daily_volatility * value * (value / power.daily_value).sqrt()
            cost += charge
            cash += (value if c.quantity < 0 else -value) - cents(charge)
            traded += value
        turnover = (traded + abs(cash - request.cash)) / 2
        trades = sum(1 for c in picked if c.quantity)
        if cash < limits.min_cash or (limits.max_trades is not None and trades > limits.max_trades):
            return None
        if limits.max_turnover is not None and turnover > limits.max_turnover * self.total:
            return None
        after = {c.name: (self.held[c.name] + c.quantity) * request.prices[c.name] for c in picked}
        if not self.keeps_weights(after):
            return None
        error = self.tracking_error(after)
        if limits.max_tracking_error is not None and error > float(limits.max_tracking_error):
            return None
        taxed = self.taxed(picked)
        if taxed is None:
            return None
        tax, short_term = taxed
        if request.distance is TradeDistance.TARGET_VALUE:
            distance = sum((abs(after[n] - self.target[n]) for n in after), ZERO)
        else:
            distance = Decimal(request.risk.aversion / 2 * error**2) * self.total
        weight = request.tax.weight if request.tax else ZERO
        return Outcome(distance + cost + weight * tax, distance, cost, tax, cash, turnover, error, short_term, picked)

    def keeps_weights(self, after):
        for limit in self.request.limits.weights:
            value = sum((limit.coefficients[n] * after[n] for n in limit.coefficients if n in after), ZERO)
            if limit.maximum is not None and value > limit.maximum * self.total:
                return False
            if limit.minimum is not None and value < limit.minimum * self.total:
                return False
        return True

    def taxed(self, picked):
        """Tax and short-term gains; None where they break a limit."""
        request, limits = self.request, self.request.limits
        if not request.tax:
            return ZERO, ZERO
        gains = self.gains(picked)
        if gains is None:
            return None
        short, long, short_term = gains
        year = request.tax.year_to_date
        tax = self.tax_on(year.short_term + short, year.long_term + long)
        tax -= self.tax_on(year.short_term, year.long_term)
        if limits.max_realized_gain is not None and short + long > limits.max_realized_gain:
            return None
        return None if limits.max_tax is not None and tax > limits.max_tax else (tax, short_term)

    def tracking_error(self, after):
        risk = self.request.risk
        if risk is None:
            return 0.0
        variance = 0.0
        gap = [float(after.get(n, ZERO) / self.total) - risk.reference[k] for k, n in enumerate(risk.names)]
        for f in range(risk.factors.shape[1]):
            variance += sum(risk.factors[k, f] * g for k, g in enumerate(gap)) ** 2
        return math.sqrt(variance + sum(s * g * g for s, g in zip(risk.specific, gap, strict=True)))

    def all_outcomes(self, stage):
        for picked in itertools.product(*(self.choices(name, stage) for name in self.names)):
            outcome = self.outcome(picked)
            if outcome is not None:
                yield outcome

    def size(self, stage):
        return math.prod(len(self.choices(name, stage)) for name in self.names)

    def stages(self):
        limits, tax = self.request.limits, self.request.tax
        may_pass = bool(limits.weights) or limits.max_tracking_error is not None
        avoids = bool(tax) and tax.avoid_short_term_gains
        yield {"past": False, "short": not avoids}
        if may_pass:
            yield {"past": True, "short": not avoids}
        if avoids:
            yield {"past": may_pass, "short": True}

    def best(self):
        """The best outcome of the first stage that has one; in the last, of those with the least short-term gains."""
        avoids = bool(self.request.tax) and self.request.tax.avoid_short_term_gains
        for stage in self.stages():
            outcomes = list(self.all_outcomes(stage))
            if avoids and stage["short"] and outcomes:
                least = min(o.short_term for o in outcomes)
                outcomes = [o for o in outcomes if o.short_term <= least]
            if outcomes:
                return min(outcomes, key=lambda o: o.objective)
        return None

    def of_plan(self, plan):
        """The outcome of a plan's own trades, from its quantities and lots alone."""
        traded = {t.instrument_id: t.quantity if t.action.value == "buy" else -t.quantity for t in plan.trades}
        picked = []
        for name in self.names:
            parts = {sale.lot.lot_id: sale.quantity for sale in plan.lot_sales.get(name, ())}
            quantity = traded.get(name, ZERO)
            assert not parts or sum(parts.values()) == -quantity
            assert all(0 < q <= self.lots[name][k].quantity for k, q in parts.items())
            picked.append(Choice(name, quantity, parts))
        return self.outcome(tuple(picked))
