"""The language of the fleet: connection, subjects, wire values, and the client."""

from bus.client.client import Client
from bus.client.handle import TaskHandle
from bus.connection import Bus, connect
from bus.errors import FleetError
from bus.version import VERSION

__all__ = ["VERSION", "Bus", "Client", "FleetError", "TaskHandle", "connect"]
