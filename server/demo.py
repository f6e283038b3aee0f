"""The demo: calls a running service like a client would, and shows the answers."""

from __future__ import annotations

from pathlib import Path


async def run_demo(address: str, output: Path) -> int:
    """Show an optimization, a frontier, a plan and exposures of the sample portfolio."""
    raise NotImplementedError(address, output)
