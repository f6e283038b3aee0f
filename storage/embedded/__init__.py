"""An embedded PostgreSQL: child of the service, closed to others, nothing to install."""

from storage.embedded.errors import AlreadyRunning, ServerNotStarted
from storage.embedded.server import EmbeddedServer, default_data_directory

__all__ = ["AlreadyRunning", "EmbeddedServer", "ServerNotStarted", "default_data_directory"]
