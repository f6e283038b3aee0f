"""Who runs PostgreSQL: it refuses to run as root, so root hands it to a user that exists and has no rights."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.embedded.errors import ServerNotStarted

_CANDIDATES = ("postgres", "nobody")


def clean_environment() -> dict[str, str]:
    """The caller's environment without what would redirect the server or its tools."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """The user of the server's processes. ``switch`` is whether that is another one than ours."""

    uid: int
    gid: int
    switch: bool

    @classmethod
    def for_directory(cls, directory: Path) -> ServiceUser:
        """Ourselves, or when we are root: the owner of the directory if it has one, else a user without rights."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid(), switch=False)
        if directory.exists() and (owner := directory.stat()).st_uid != 0:
            return cls(owner.st_uid, owner.st_gid, switch=True)
        return cls._without_rights()

    @classmethod
    def _without_rights(cls) -> ServiceUser:
        for name in _CANDIDATES:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid, switch=True)
        raise ServerNotStarted(f"PostgreSQL does not run as root, and there is no user {' or '.join(_CANDIDATES)}")

    def own(self, path: Path) -> None:
        """Gives the file or directory, which must be ours, to the user."""
        if self.switch:
            os.chown(path, self.uid, self.gid)

    def closed_parent(self, path: Path) -> Path | None:
        """The outermost directory on the way to the path that the user may not enter."""
        if not self.switch:
            return None
        parents = reversed(path.resolve().parents)
        return next((parent for parent in parents if not self._may_enter(parent)), None)

    def _may_enter(self, directory: Path) -> bool:
        status = directory.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)

    def run(self, command: Sequence[str], directory: Path) -> None:
        """Runs a tool to its end.

        Raises:
            ServerNotStarted: It failed; the message holds what it said.
        """
        outcome = subprocess.run(  # noqa: S603 - the command is the launcher's own
            command,
            cwd=directory,
            env=clean_environment(),
            user=self.uid if self.switch else None,
            group=self.gid if self.switch else None,
            extra_groups=[] if self.switch else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if outcome.returncode != 0:
            raise ServerNotStarted(f"{Path(command[0]).name} failed: {outcome.stdout.strip()}")
