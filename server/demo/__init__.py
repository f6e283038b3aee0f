"""The demo: calls a running service like any client would, and shows the answers."""

from server.demo.run import run_demo

__all__ = ["run_demo"]
