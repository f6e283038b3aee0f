"""What a tax year has realised and carried in, and what of it the next years start from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal

from kernel.rebalancing.lots import GainRates
from kernel.rebalancing.money import ZERO
from kernel.rebalancing.tax import NetGains, TaxRules, tax_on

_NO_RATES = GainRates(ZERO, ZERO)


@dataclass(frozen=True, slots=True)
class TaxYear:
    """The figures of a taxpayer's year.

    Attributes:
        year: Calendar year.
        realised: Gains less losses realised in it so far, by term.
        carried: Losses carried in from earlier years, by term, <= 0.
    """

    year: int
    realised: NetGains = field(default_factory=NetGains)
    carried: NetGains = field(default_factory=NetGains)

    @property
    def net(self) -> NetGains:
        """Both together: what tax is computed from."""
        return self.realised.plus(self.carried)

    def with_gains(self, gains: NetGains) -> TaxYear:
        """The year with more realised in it."""
        return replace(self, realised=self.realised.plus(gains))

    def followed(self, loss_limit: Decimal) -> TaxYear:
        """The next year, before anything is realised in it.

        Args:
            loss_limit: Net loss of this year that reduces other income.

        References:
            26 USC 1211(b), 1212(b).
        """
        return TaxYear(self.year + 1, carried=tax_on(self.net, TaxRules(_NO_RATES, loss_limit)).carried)

    def amended(self, gains: NetGains) -> TaxYear:
        """The year after the returns of earlier years have changed.

        A year that carried losses out has used its limit up, so its further gains use the losses carried, and its
        further losses add to them. Of a year that carried nothing it is not known what further losses would have met:
        they carry nothing, so that tax is never understated.

        Args:
            gains: What the earlier years realised more, by term; negative for losses.
        """
        if not self.carried.total:
            return self
        return replace(self, carried=tax_on(self.carried.plus(gains), TaxRules(_NO_RATES)).carried)
