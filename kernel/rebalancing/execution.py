"""Execution of one large trade over several days: whole slices within the daily volume, their cost and their risk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal

from kernel.errors import ProblemError
from kernel.rebalancing.almgren_chriss import decreasing, urgency
from kernel.rebalancing.costs import power_law_impact
from kernel.rebalancing.money import ZERO, require_amount


@dataclass(frozen=True, slots=True)
class Liquidity:
    """What is known of the market of an instrument.

    Attributes:
        price: Money per share, > 0.
        daily_volume: Shares per day on average, > 0; None where it is not known.
        daily_volatility: Standard deviation of the daily return; None where it is not known.
    """

    price: Decimal
    daily_volume: Decimal | None = None
    daily_volatility: Decimal | None = None

    def __post_init__(self) -> None:
        require_amount("price", self.price, positive=True)
        if self.daily_volume is not None:
            require_amount("daily_volume", self.daily_volume, positive=True)
        if self.daily_volatility is not None:
            require_amount("daily_volatility", self.daily_volatility)


@dataclass(frozen=True, slots=True)
class ExecutionSettings:
    """How trades are spread over days.

    Attributes:
        max_participation: Largest share of the daily volume per day, in (0, 1]; None = every trade in one day.
        days: Days for a trade that exceeds it; 0 = as few as it allows.
        risk_aversion: lambda per unit of money, >= 0.
        half_spread: Fraction of the price, in [0, 1].
        impact_coefficient: b of the 3/2-power law; 0 = no such impact.
        most_days: Most days that a trade may take.
    """

    max_participation: Decimal | None = None
    days: int = 0
    risk_aversion: float = 0.0
    half_spread: Decimal = ZERO
    impact_coefficient: Decimal = ZERO
    most_days: int = 250

    def __post_init__(self) -> None:
        require_amount("execution.half_spread", self.half_spread)
        require_amount("execution.impact_coefficient", self.impact_coefficient)
        if self.max_participation is not None:
            require_amount("execution.max_participation", self.max_participation, positive=True)
            if self.max_participation > 1:
                raise ProblemError("execution.max_participation", f"must be at most 1, got {self.max_participation}")
        if self.days < 0:
            raise ProblemError("execution.days", f"must be zero or more, got {self.days}")
        if not math.isfinite(self.risk_aversion) or self.risk_aversion < 0.0:
            raise ProblemError("execution.risk_aversion", f"must be zero or more, got {self.risk_aversion}")


@dataclass(frozen=True, slots=True)
class SlicedCost:
    """What executing slices costs.

    Attributes:
        expected: Half the spread and the impact of every slice, money, unrounded.
        risk: Standard deviation of the cost, money, unrounded; None where the volatility is not known.
    """

    expected: Decimal
    risk: Decimal | None


def largest_slice(liquidity: Liquidity, increment: Decimal, max_participation: Decimal) -> Decimal:
    """Most shares that one day may trade: whole increments within max_participation * daily volume.

    Args:
        liquidity: Of the instrument; its daily volume is known.
        increment: Smallest tradable number of shares.
        max_participation: Largest share of the daily volume.

    Returns:
        Shares, a whole number of increments; zero when not even one fits.
    """
    assert liquidity.daily_volume is not None
    within = max_participation * liquidity.daily_volume
    return (within / increment).to_integral_value(ROUND_FLOOR) * increment


def days_needed(quantity: Decimal, largest: Decimal) -> int:
    """Fewest days that a trade needs, ceil(|x| / largest slice).

    Args:
        quantity: Shares, > 0.
        largest: Most shares in a day, > 0.

    Returns:
        Days, >= 1.
    """
    # The quotient itself could be rounded down to a whole number.
    return int(quantity // largest) + bool(quantity % largest)


def slice_trade(
    quantity: Decimal, increment: Decimal, liquidity: Liquidity, settings: ExecutionSettings
) -> tuple[Decimal, ...]:
    """Shares per day, the first day first.

    The 3/2-power law costs c n^(3/2) for n shares in a day, c = b sigma p / V^(1/2). For the schedule alone it is
    made linear: eta is such that both laws agree on equal slices, eta = c / (X / N)^(1/2). Where the linear schedule
    would exceed the largest slice, the first days take that and the best schedule of what is left follows; as the
    schedule never increases, this is the best one within the limit. Without impact, aversion to risk means as early
    as possible.

    Args:
        quantity: X in shares, > 0.
        increment: Slices are whole numbers of it; what X has beyond is in one slice.
        liquidity: Of the instrument.
        settings: Participation, days and aversion to risk.

    Returns:
        Shares per day, zero on a day without a slice, never on the last; they add up to X exactly and none exceeds
        the largest slice.

    Raises:
        ProblemError: The participation is limited and the daily volume is not known, not one increment is within, or
            the trade takes too many days.
    """
    require_amount("quantity", quantity, positive=True)
    require_amount("increment", increment, positive=True)
    if settings.max_participation is None:
        return (quantity,)
    if liquidity.daily_volume is None:
        raise ProblemError("max_participation", "needs an average daily volume above 0, which is not known")
    largest = largest_slice(liquidity, increment, settings.max_participation)
    if quantity <= settings.max_participation * liquidity.daily_volume:
        return (quantity,)
    if not largest:
        limit = f"{settings.max_participation} of the daily volume of {liquidity.daily_volume} shares"
        raise ProblemError("max_participation", f"{limit} is less than the smallest trade of {increment}")
    days = max(days_needed(quantity, largest), settings.days)
    if days > settings.most_days:
        raise ProblemError(
            "max_participation",
            f"makes the trade of {quantity} shares take {days} days, more than {settings.most_days}",
        )
    exact = _within(float(quantity), days, float(largest), _urgency(quantity, days, liquidity, settings))
    return _whole(exact, quantity, increment, largest)


def sliced_cost(slices: tuple[Decimal, ...], liquidity: Liquidity, settings: ExecutionSettings) -> SlicedCost:
    """Expected cost and risk of slices on successive days.

        epsilon p X + sum_k b sigma p n_k (n_k / V)^(1/2)   and   (sigma^2 p^2 sum_k x_k^2)^(1/2)

    with the shares x_k left after day k. The commission is not part of it.

    Args:
        slices: Shares per day.
        liquidity: Of the instrument.
        settings: Spread and coefficient of impact.

    Returns:
        Expected cost and standard deviation.

    Raises:
        ProblemError: Impact is counted and the volatility or the volume is not known.

    References:
        Boyd et al. (2017), equation 2.2; Almgren & Chriss (2000), section 1.
    """
    price, volatility = liquidity.price, liquidity.daily_volatility
    expected = settings.half_spread * price * sum(slices, ZERO)
    if settings.impact_coefficient:
        if volatility is None or liquidity.daily_volume is None:
            raise ProblemError("impact_coefficient", "needs daily volatility and volume, which are not known")
        volume = liquidity.daily_volume * price
        for shares in slices:
            expected += power_law_impact(shares * price, volatility, volume, settings.impact_coefficient)
    if volatility is None:
        return SlicedCost(expected, None)
    left, squares = sum(slices, ZERO), ZERO
    for shares in slices:
        left -= shares
        squares += left * left
    return SlicedCost(expected, volatility * price * squares.sqrt())


def _urgency(quantity: Decimal, days: int, liquidity: Liquidity, settings: ExecutionSettings) -> float:
    """Urgency per day of a sliced trade; infinite when waiting has a price and trading at once has none."""
    volatility = float(liquidity.daily_volatility or ZERO)
    if not settings.risk_aversion or not volatility:
        return 0.0
    coefficient = float(settings.impact_coefficient)
    if not coefficient:
        return math.inf
    assert liquidity.daily_volume is not None
    price = float(liquidity.price)
    eta = coefficient * volatility * price / math.sqrt(float(quantity) / days * float(liquidity.daily_volume))
    if not eta:
        return math.inf
    return urgency(volatility * price, eta, settings.risk_aversion, 1.0)


def _within(shares: float, days: int, largest: float, kappa: float) -> tuple[float, ...]:
    """The best schedule whose slices stay within the largest one."""
    for full in range(days):
        left = shares - full * largest
        if left <= 0.0:
            return (largest,) * full
        rest = _tail(left, days - full, kappa)
        if rest[0] <= largest:
            return (largest,) * full + rest
    return (largest,) * days


def _tail(shares: float, days: int, kappa: float) -> tuple[float, ...]:
    return (shares,) if math.isinf(kappa) else decreasing(shares, days, kappa)


def _whole(exact: tuple[float, ...], quantity: Decimal, increment: Decimal, largest: Decimal) -> tuple[Decimal, ...]:
    """Slices in whole increments: running totals are rounded, so that the parts add up and no slice grows by one.

    The sum of a running total and a slice of at most L whole increments rounds to at most L more than the running
    total does. What the trade has beyond whole increments goes into the last slice that has room for it. Where all are
    full, it has a day of its own: the days are enough for the whole trade, floating point has left this one out.
    """
    remainder = quantity % increment
    count, most = int((quantity - remainder) / increment), int(largest / increment)
    scale = count / math.fsum(exact)
    parts, done, total = [], 0, 0.0
    for place, shares in enumerate(exact, 1):
        total += shares
        reached = count if place == len(exact) else _half_up(total * scale)
        part = min(max(reached - done, 0), most, count - done)
        parts.append(part)
        done += part
    _place_rest(parts, count - done, most)
    slices = [part * increment for part in parts]
    if remainder:
        room = [place for place, shares in enumerate(slices) if shares + remainder <= largest]
        if room:
            slices[room[-1]] += remainder
        else:
            slices.append(remainder)
    while slices and not slices[-1]:
        slices.pop()
    return tuple(slices)


def _place_rest(parts: list[int], rest: int, most: int) -> None:
    """Puts increments that floating point left over into the last days that have room, or into a day of their own."""
    for place in reversed(range(len(parts))):
        added = min(rest, most - parts[place])
        parts[place] += added
        rest -= added
    if rest:
        parts.append(rest)


def _half_up(value: float) -> int:
    return int(Decimal(value).to_integral_value(ROUND_HALF_UP))
