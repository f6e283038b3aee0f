"""Which column of the file is which: the names this service knows against the names in the header."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from server.imports.problems import Problems


def find_columns(
    header: tuple[str, ...],
    required: Iterable[str],
    optional: Iterable[str],
    mapping: Mapping[str, str],
    problems: Problems,
) -> dict[str, int]:
    """Finds the known columns of a header.

    A column named in the mapping must be there under exactly that name; any other is found without regard to case.

    Args:
        header: The names in the file.
        required: Known names that must be found.
        optional: Known names that may be.
        mapping: Known name -> name in the file.
        problems: Takes the names that are missing.

    Returns:
        Known name -> position in the header, for those that are there.
    """
    required = tuple(required)
    found: dict[str, int] = {}
    for name in (*required, *optional):
        position = _position(header, mapping.get(name), name)
        if position is not None:
            found[name] = position
        elif name in mapping or name in required:
            problems.add(None, f"has no column {mapping.get(name, name)!r}; its columns are {_listed(header)}")
    return found


def _position(header: tuple[str, ...], mapped: str | None, name: str) -> int | None:
    if mapped is not None:
        return header.index(mapped) if mapped in header else None
    exact = [index for index, column in enumerate(header) if column == name]
    similar = [index for index, column in enumerate(header) if column.lower() == name]
    return next(iter(exact or similar), None)


def _listed(header: tuple[str, ...]) -> str:
    shown = ", ".join(header[:12])
    return shown if len(header) <= 12 else f"{shown}, ... ({len(header)})"
