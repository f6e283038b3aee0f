"""Wash sales share by share: another algorithm than the engine's, with which it shares no code.

Every share is an object and every amount a whole number of cents. All pairs of a sold and a bought share that could
match are written down, sorted by the moment at which both are known and then by the order of the rule, and taken
greedily. Whether a sold share is at a loss is known by then, because what it replaced came before its own sale.
"""

import calendar
import datetime as dt
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import count


@dataclass(frozen=True)
class Reading:
    """The rule, and its readings."""

    window: int
    months: int
    literal: bool
    copy_date: bool
    count_sold: bool
    retirement: frozenset
    identical: frozenset  # of frozensets of two instruments


@dataclass(eq=False)
class Share:
    account: str
    instrument: str
    purchase: str
    bought_at: int  # number of the event
    bought_on: dt.date
    number: int  # in its purchase
    cost: int
    start: dt.date
    sold_at: int | None = None
    sold_on: dt.date | None = None
    place: int = 0  # in its sale
    price: int = 0
    used: bool = False  # has replaced another
    matched: bool = False  # was sold at a loss and is replaced
    taken_over: int = 0  # a loss that came after its own sale
    late_start: dt.date | None = None


@dataclass
class Outcome:
    """Sums by sale, purchase and term; matches by sale and replacement; what is held."""

    gain: Counter = field(default_factory=Counter)
    disallowed: Counter = field(default_factory=Counter)
    lost: Counter = field(default_factory=Counter)
    matches: Counter = field(default_factory=Counter)
    held: dict = field(default_factory=lambda: defaultdict(Counter))
    years: Counter = field(default_factory=Counter)


def is_long(start, sold_on, months):
    """More than a number of months, counted from the day after: by walking the calendar month by month."""
    first = start + dt.timedelta(days=1)
    year, month = first.year, first.month
    for _ in range(months):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    if first.day <= calendar.monthrange(year, month)[1]:
        return sold_on >= dt.date(year, month, first.day)
    return sold_on > dt.date(year, month, calendar.monthrange(year, month)[1])


def settle(events, reading):
    """events: ("buy", day, account, instrument, purchase, shares, cents) or
    ("sell", day, account, instrument, sale, [(purchase, shares, from_the_back), ...], cents)."""
    shares, sales = _expand(events)
    outcome = Outcome()
    for _, sold, bought in sorted(_pairs(shares, reading), key=lambda pair: pair[0]):
        if sold.matched or bought.used or sold.price >= sold.cost:
            continue
        _replace(sold, bought, reading, outcome, sales)
    for share in shares:
        _report(share, reading, outcome, sales)
    return outcome


def _expand(events):
    """The shares of all purchases. The sales say which are sold, from the front or the back of a purchase.

    Matching takes the first share of a purchase that is held and unused, so the numbers alone say which is which.
    """
    shares, sales = [], {}
    for at, event in enumerate(events):
        kind, day, account, instrument, name, what, cents = event
        if kind == "buy":
            shares += [Share(account, instrument, name, at, day, number, cents, day) for number in range(what)]
            continue
        sales[at] = name
        places = count()
        for purchase, quantity, from_the_back in what:
            left = [s for s in shares if (s.account, s.purchase, s.sold_at) == (account, purchase, None)]
            for share in (left[::-1] if from_the_back else left)[:quantity]:
                share.sold_at, share.sold_on, share.place, share.price = at, day, next(places), cents
    return shares, sales


def _pairs(shares, reading):
    for sold in shares:
        if sold.sold_at is None or sold.account in reading.retirement:
            continue
        for bought in shares:
            key = _moment(sold, bought, reading)
            if key is not None:
                yield key, sold, bought


def _moment(sold, bought, reading):
    """Sort key of a pair; None where the rule does not look at it."""
    if bought is sold or abs((bought.bought_on - sold.sold_on).days) > reading.window:
        return None
    if (
        bought.instrument != sold.instrument
        and frozenset((bought.instrument, sold.instrument)) not in reading.identical
    ):
        return None
    same = (bought.account, bought.purchase) == (sold.account, sold.purchase)
    if bought.bought_at > sold.sold_at:
        return (bought.bought_at, sold.sold_on, sold.bought_on, sold.sold_at, sold.place, bought.number)
    order = (sold.sold_at, sold.bought_on, sold.place)
    if bought.sold_at is None or bought.sold_at > sold.sold_at:
        if same and not reading.literal:
            return None
        return (*order, bought.bought_on, 1, bought.bought_at, bought.number)
    if same or not reading.count_sold or bought.sold_at == sold.sold_at:
        return None
    return (*order, bought.bought_on, 0, bought.sold_at, bought.place)


def _replace(sold, bought, reading, outcome, sales):
    loss = sold.cost - sold.price
    sold.matched, bought.used = True, True
    lost = bought.account in reading.retirement
    key = _line(sold, sold.start, reading, sales)
    outcome.disallowed[key] += loss
    outcome.matches[sold.account, sales[sold.sold_at], sold.purchase, bought.account, bought.purchase, loss, lost] += 1
    if lost:
        outcome.lost[key] += loss
        return
    days = sold.sold_on - sold.start
    start = min(bought.start, sold.start) if reading.copy_date else bought.start - days
    if bought.sold_at is not None and bought.sold_at < sold.sold_at:
        bought.taken_over, bought.late_start = loss, start
    else:
        bought.cost, bought.start = bought.cost + loss, start


def _line(share, start, reading, sales):
    return share.account, sales[share.sold_at], share.purchase, is_long(start, share.sold_on, reading.months)


def _report(share, reading, outcome, sales):
    if share.sold_at is None:
        outcome.held[share.account, share.instrument, share.purchase][share.cost, share.start, share.used] += 1
        return
    key, gain = _line(share, share.start, reading, sales), share.price - share.cost
    outcome.gain[key] += gain
    if share.account not in reading.retirement and not share.matched:
        outcome.years[share.sold_on.year, key[-1]] += gain
    if share.taken_over:
        corrected = _line(share, share.late_start, reading, sales)
        outcome.gain[corrected] -= share.taken_over
        outcome.years[share.sold_on.year, corrected[-1]] -= share.taken_over
