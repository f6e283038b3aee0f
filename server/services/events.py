"""EventService."""

from __future__ import annotations

from portfolio_optimization.v1.event_service_pb2_grpc import EventServiceServicer

from storage.change_feed import ChangeFeed
from storage.database import Database


class EventService(EventServiceServicer):
    """What happened, in order."""

    def __init__(self, database: Database, changes: ChangeFeed) -> None:
        self._database, self._changes = database, changes
