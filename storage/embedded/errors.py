"""Why the embedded server did not start."""

from __future__ import annotations

from storage.errors import StorageError


class ServerNotStarted(StorageError):  # noqa: N818
    """The embedded server cannot run; the message says what to change."""


class AlreadyRunning(ServerNotStarted):
    """Another process runs the server of this data directory.

    Attributes:
        pid: That process.
    """

    def __init__(self, data_directory: str, pid: int) -> None:
        super().__init__(f"the database in {data_directory} is already being run by process {pid}")
        self.pid = pid
