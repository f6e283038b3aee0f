"""Which sales pay for which purchases: as few as cover them, safe in whatever order fills come in."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from kernel.errors import ProblemError
from kernel.rebalancing.money import ZERO

_CASH = -1


def fund(payments: Sequence[Decimal], needs: Sequence[Decimal], cash: Decimal) -> tuple[tuple[int, ...], ...]:
    """Assigns money from cash and payers to takers, so that every cent is promised once.

    A taker waits for the payers that promise it money. Whatever set of takers is served then, with the payers it waits
    for, takes no more than cash and these payers give: no order of events overdraws the account. By Hall's theorem
    the converse holds too: waits that are safe in every order have such promises. So a taker is released from a payer,
    the smallest promise first, wherever the money can be promised anew without it, and in the end every wait is
    indispensable.

    Args:
        payments: Money that each payer brings, >= 0, first come first.
        needs: Money that each taker takes, >= 0, first served first.
        cash: Money there is above the floor. Negative: the first payers make up for it, and every taker waits for
            them.

    Returns:
        Per taker, the places of the payers it waits for, ascending.

    Raises:
        ProblemError: The needs exceed cash and payments together.

    References:
        Hall (1935), On Representatives of Subsets; Gale (1957), A Theorem on Flows in Networks.
    """
    short = sum(needs, -cash) - sum(payments, ZERO)
    if short > ZERO:
        raise ProblemError("orders", f"take {short} more than cash above its floor and the sales provide")
    left = {_CASH: max(cash, ZERO), **dict(enumerate(payments))}
    common = frozenset(_promise(max(-cash, ZERO), left))
    promises = [_promise(need, left) for need in needs]
    book = _Promises(promises, left, common | {_CASH})
    for _, taker, payer in sorted(_releasable(promises, book.free)):
        book.release(taker, payer)
    return tuple(tuple(sorted((common | set(promised)) - {_CASH})) for promised in promises)


def _promise(need: Decimal, left: dict[int, Decimal]) -> dict[int, Decimal]:
    """Takes money from the sources in order; what each gives."""
    promised: dict[int, Decimal] = {}
    for source, amount in left.items():
        given = min(need, amount)
        if given:
            promised[source] = given
            left[source] -= given
            need -= given
    return promised


def _releasable(promises: Sequence[dict[int, Decimal]], free: frozenset[int]) -> list[tuple[Decimal, int, int]]:
    return [
        (amount, taker, source)
        for taker, promised in enumerate(promises)
        for source, amount in promised.items()
        if source not in free
    ]


@dataclass(slots=True)
class _Promises:
    """Promises that can be moved.

    Attributes:
        promises: Per taker, money by source.
        left: Money by source that nobody has.
        free: Sources that every taker may use without another wait.
    """

    promises: list[dict[int, Decimal]]
    left: dict[int, Decimal]
    free: frozenset[int]

    def release(self, taker: int, source: int) -> None:
        """Frees a taker from a source, if its money can come from elsewhere without another wait."""
        amount = self.promises[taker].get(source, ZERO)
        before = [dict(promised) for promised in self.promises], dict(self.left)
        self.promises[taker].pop(source, None)
        self.left[source] += amount
        while amount:
            path = self._path(taker)
            if not path:
                self.promises[:], self.left = before
                return
            amount -= self._move(path, amount)

    def _path(self, taker: int) -> list[tuple[int, int]]:
        """The shortest way to money that is left: each taker takes from a source, whose user goes to another one."""
        users: dict[int, list[int]] = {}
        for user, promised in enumerate(self.promises):
            for source in promised:
                users.setdefault(source, []).append(user)
        came: dict[int, tuple[int, int] | None] = {taker: None}
        seen: set[int] = set()
        queue = deque([taker])
        while queue:
            here = queue.popleft()
            for source in sorted((self.free | set(self.promises[here])) - seen):
                seen.add(source)
                if self.left[source]:
                    return self._back(came, here, source)
                for user in users.get(source, ()):
                    if user not in came:
                        came[user] = (here, source)
                        queue.append(user)
        return []

    def _back(self, came: dict[int, tuple[int, int] | None], taker: int, source: int) -> list[tuple[int, int]]:
        path = [(taker, source)]
        while (step := came[taker]) is not None:
            path.append(step)
            taker = step[0]
        return path

    def _move(self, path: list[tuple[int, int]], amount: Decimal) -> Decimal:
        """Moves money along a way that starts at what is left; what was moved."""
        takers = [taker for taker, _ in path]
        moved = min(amount, self.left[path[0][1]])
        for user, (_, source) in zip(takers, path[1:], strict=False):
            moved = min(moved, self.promises[user][source])
        self.left[path[0][1]] -= moved
        for taker, source in path:
            self.promises[taker][source] = self.promises[taker].get(source, ZERO) + moved
        for user, (_, source) in zip(takers, path[1:], strict=False):
            self.promises[user][source] -= moved
            if not self.promises[user][source]:
                del self.promises[user][source]
        return moved
