"""``fleetbus top``: the whole fleet on one screen."""

from fleetbus.top.command import register

__all__ = ["register"]
