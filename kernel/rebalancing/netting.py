"""The year's tax as an affine function on each cell of the plane of net gains, exactly and inside a program.

With net short-term gains s, net long-term gains l, x = s + l, the loss limit L and rates r:

    x <= -L                   v (x + L) - r_o L
    -L <= x <= 0              r_o x
    x >= 0, s <= 0            r_L x
    x >= 0, s >= 0, l >= 0    r_S s + r_L l
    x >= 0, l <= 0            r_S x

The tax is not convex: a loss of one term first saves the rate of the other, and at x = 0 the rate may fall from r_o to
r_L. A program takes the convex hull of the cells within its bounds: one copy of (s, l) and one flag per cell, at most
five for all lots together.

References: 26 USC 1211(b), 1222; Balas (1979), Disjunctive Programming.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from kernel.rebalancing.curves import Affine
from kernel.rebalancing.mixed_integer import Assembly
from kernel.rebalancing.money import ZERO
from kernel.rebalancing.tax import NetGains, TaxRules

_ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell and its tax.

    Attributes:
        sides: Rows (a, b, c) with  a s + b l + c >= 0  inside.
        tax: (a, b, c) of the tax  a s + b l + c.
    """

    sides: tuple[tuple[Decimal, Decimal, Decimal], ...]
    tax: tuple[Decimal, Decimal, Decimal]

    def holds(self, gains: NetGains) -> bool:
        """Whether gains lie inside, borders included."""
        return all(a * gains.short_term + b * gains.long_term + c >= ZERO for a, b, c in self.sides)

    def at(self, gains: NetGains) -> Decimal:
        """Its tax."""
        a, b, c = self.tax
        return a * gains.short_term + b * gains.long_term + c


def tax_cells(rules: TaxRules) -> tuple[Cell, ...]:
    """The cells of a set of rules; together they cover the plane.

    Args:
        rules: Rates, limit and the value of a carried loss.

    Returns:
        The cells in the order of the formula.
    """
    short, long, income, later = (
        rules.rates.short_term,
        rules.rates.long_term,
        rules.income_rate,
        rules.carried_loss_value,
    )
    limit = rules.loss_limit
    gain = (_ONE, _ONE, ZERO)
    short_gain, short_loss = (_ONE, ZERO, ZERO), (-_ONE, ZERO, ZERO)
    long_gain, long_loss = (ZERO, _ONE, ZERO), (ZERO, -_ONE, ZERO)
    deep = Cell(((-_ONE, -_ONE, -limit),), (later, later, (later - income) * limit))
    shallow = Cell(((_ONE, _ONE, limit), (-_ONE, -_ONE, ZERO)), (income, income, ZERO))
    return (
        deep,
        *((shallow,) if limit else ()),
        Cell((gain, short_loss), (long, long, ZERO)),
        Cell((gain, short_gain, long_gain), (short, long, ZERO)),
        Cell((gain, long_loss), (short, short, ZERO)),
    )


def unrounded_tax(gains: NetGains, rules: TaxRules) -> Decimal:
    """Tax of a year's net gains, not rounded to the cent.

    Args:
        gains: Net gains of the year, losses carried in included.
        rules: Rates, limit and the value of a carried loss.

    Returns:
        The tax; negative when a loss saves tax on other income or has a carried value.
    """
    return next(cell.at(gains) for cell in tax_cells(rules) if cell.holds(gains))


def add_tax(assembly: Assembly, short: Affine, long: Affine, rules: TaxRules, unit: Decimal) -> Affine:
    """Adds the tax of net gains to a program.

    Args:
        assembly: The program.
        short: Net short-term gains of the year, in units of money.
        long: Net long-term gains of the year, likewise.
        rules: Rates, limit and the value of a carried loss.
        unit: Money per unit.

    Returns:
        The tax in units, which the program may not make less than it is.
    """
    box = (_range(assembly, short), _range(assembly, long))
    cells = [_scaled(cell, unit) for cell in tax_cells(rules)]
    cells = [cell for cell in cells if _meets(cell, box)]
    if len(cells) == 1:
        return _within(cells[0], short, long)
    tax, parts_short, parts_long = Affine(), dict(short.terms), dict(long.terms)
    flags = {}
    for cell in cells:
        flag = assembly.flag()
        flags[flag] = 1.0
        short_part, long_part = (_copy(assembly, flag, bounds) for bounds in box)
        for a, b, c in cell.sides:
            assembly.at_least({short_part: a, long_part: b, flag: c}, 0.0)
        a, b, c = cell.tax
        tax.add({short_part: a, long_part: b, flag: c})
        parts_short[short_part], parts_long[long_part] = -1.0, -1.0
    assembly.equal(flags, 1.0)
    assembly.equal(parts_short, -short.constant)
    assembly.equal(parts_long, -long.constant)
    return tax


@dataclass(frozen=True, slots=True)
class _FloatCell:
    sides: tuple[tuple[float, float, float], ...]
    tax: tuple[float, float, float]


def _scaled(cell: Cell, unit: Decimal) -> _FloatCell:
    def scaled(row: tuple[Decimal, Decimal, Decimal]) -> tuple[float, float, float]:
        return float(row[0]), float(row[1]), float(row[2] / unit)

    return _FloatCell(tuple(scaled(row) for row in cell.sides), scaled(cell.tax))


def _within(cell: _FloatCell, short: Affine, long: Affine) -> Affine:
    a, b, c = cell.tax
    tax = Affine(constant=c + a * short.constant + b * long.constant)
    tax.add(short.terms, a)
    tax.add(long.terms, b)
    return tax


def _copy(assembly: Assembly, flag: int, bounds: tuple[float, float]) -> int:
    """A column that lies within its bounds where the flag is set and is zero elsewhere."""
    low, high = bounds
    column = assembly.column(max(0.0, high), lower=min(0.0, low))
    assembly.at_least({column: 1.0, flag: -low}, 0.0)
    assembly.at_most({column: 1.0, flag: -high}, 0.0)
    return column


def _range(assembly: Assembly, expression: Affine) -> tuple[float, float]:
    """Least and largest value within the bounds of the columns."""
    low = high = expression.constant
    for column, factor in expression.terms.items():
        ends = (factor * assembly.lower[column], factor * assembly.upper[column])
        low, high = low + min(ends), high + max(ends)
    return low, high


def _meets(cell: _FloatCell, box: tuple[tuple[float, float], tuple[float, float]]) -> bool:
    """Whether a cell has a point in the box: necessary per side, and for the sum with the half that one term allows."""
    (s_low, s_high), (l_low, l_high) = box
    for a, b, _ in cell.sides:
        if b == 0.0:
            s_low, s_high = (max(s_low, 0.0), s_high) if a > 0.0 else (s_low, min(s_high, 0.0))
        if a == 0.0:
            l_low, l_high = (max(l_low, 0.0), l_high) if b > 0.0 else (l_low, min(l_high, 0.0))
    if s_low > s_high or l_low > l_high:
        return False
    reach = (max(a * s_low, a * s_high) + max(b * l_low, b * l_high) + c for a, b, c in cell.sides)
    return all(most >= 0.0 for most in reach)
