"""What crosses the bus: plain values, no I/O."""

from bus.wire.card import Capability, Card
from bus.wire.command import Command, Reply
from bus.wire.config import ConfigHead, ConfigLayer, ConfigReport, Override, Rejection
from bus.wire.event import AuditEntry, Event
from bus.wire.heartbeat import CoordinatorBeat, FleetPolicy, Heartbeat
from bus.wire.task import DeadTask, ErrorInfo, Progress, TaskState
from bus.wire.telemetry import Telemetry

__all__ = [
    "AuditEntry",
    "Capability",
    "Card",
    "Command",
    "ConfigHead",
    "ConfigLayer",
    "ConfigReport",
    "CoordinatorBeat",
    "DeadTask",
    "ErrorInfo",
    "Event",
    "FleetPolicy",
    "Heartbeat",
    "Override",
    "Progress",
    "Rejection",
    "Reply",
    "TaskState",
    "Telemetry",
]
