"""What a user of the fleet does: submit, call, command, watch."""

from bus.client.client import Client
from bus.client.commands import Broadcast, Tally
from bus.client.handle import TaskHandle
from bus.client.options import TaskOptions
from bus.client.schedules import Schedule
from bus.client.watch import Seen

__all__ = ["Broadcast", "Client", "Schedule", "Seen", "Tally", "TaskHandle", "TaskOptions"]
