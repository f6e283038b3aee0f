"""What became of one attempt to tell a receiver."""

from __future__ import annotations

from dataclasses import dataclass

_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a receiver took a message.

    Attributes:
        error: Why not, without secrets; empty when it did.
        final: Whether another attempt can do no better.
    """

    error: str = ""
    final: bool = False

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return not self.error


DELIVERED = Outcome()


def printable(text: str, longest: int = _LONGEST) -> str:
    """A text of others on one line of bounded length."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= longest else f"{line[: longest - 3]}..."
