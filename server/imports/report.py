"""What a load did, for the caller and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kernel.estimation.data_checks import Finding

FINDINGS_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """The outcome of a load that was kept.

    Attributes:
        noun: What was loaded: prices, instruments, ...
        file: Name of the file.
        rows: Rows read.
        identifier: The id of what is stored now; for prices and factors it follows from the content.
        created: False when exactly this content was stored before, so that nothing was written.
        counts: What was found, by name (instruments, days, ...).
        findings: What the data checks say of single assets; they do not refuse a load.
    """

    noun: str
    file: str
    rows: int
    identifier: str
    created: bool = True
    counts: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """The report as text: what is stored, then each finding by name."""
        counts = ", ".join(f"{count:,} {name}" for name, count in self.counts.items())
        state = "stored" if self.created else "was stored before, nothing written"
        head = f"{self.noun} {self.identifier}: {state}; {self.file}, {self.rows:,} rows" + (
            f", {counts}" if counts else ""
        )
        shown = [f"  warning: {finding.message}" for finding in self.findings[:FINDINGS_SHOWN]]
        rest = len(self.findings) - len(shown)
        return (head, *shown, *([f"  ... and {rest} more findings"] if rest else []))
