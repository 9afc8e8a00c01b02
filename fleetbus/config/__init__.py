"""``fleetbus config``: layers, Git, what each agent makes of them, and who drifts."""

from fleetbus.config.command import register

__all__ = ["register"]
