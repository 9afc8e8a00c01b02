"""``fleetbus task``: submit, call, look at, cancel and repeat tasks."""

from fleetbus.task.command import register

__all__ = ["register"]
