"""The kernel's one exception. Outcomes (infeasible, unbounded, ...) are statuses in an answer, never exceptions."""

from __future__ import annotations


class ProblemError(ValueError):
    """The problem cannot be posed as given.

    Attributes:
        field: The path of the offending input, in the caller's words (``constraints.max_weights[AAPL]``).
        reason: One sentence that names the asset, the value and the limit.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason

    def __reduce__(self) -> tuple[type[ProblemError], tuple[str, str]]:
        """Lets the exception cross process boundaries."""
        return type(self), (self.field, self.reason)
