"""Walk-forward validations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from storage.errors import NotFound
from storage.job_repository import JobRepository
from storage.records import ValidationRequest, ValidationResult
from storage.repository import from_row
from storage.statements import load_statements


class ValidationRepository(JobRepository[ValidationRequest, ValidationResult]):
    """Keeps validations. Every change of status and progress notifies ``optimization_changed`` with the id."""

    _noun = "validation"
    _sql = load_statements("validations")
    _request_type = ValidationRequest
    _result_type = ValidationResult
    _on_complete: ClassVar[Sequence[str]] = ()

    async def find_request(self, identifier: str) -> ValidationRequest:
        """The request alone: its report may be large.

        Raises:
            NotFound: There is none of this id.
        """
        found = await self._rows(self._sql["find_request"], {"id": identifier})
        if not found:
            raise NotFound(self._noun, identifier)
        return from_row(ValidationRequest, found[0])

    async def progress(self, identifier: str, windows_done: int, windows: int) -> None:
        """Notes how many windows of how many are done, while it runs."""
        parameters = {"id": identifier, "windows_done": windows_done, "windows": windows}
        await self._run(self._sql["progress"], parameters)
