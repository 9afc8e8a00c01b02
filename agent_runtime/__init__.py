"""What runs on each machine: agents and the capabilities that they offer."""

from agent_runtime.agent import Agent
from agent_runtime.capability import Offer, offer
from agent_runtime.outcome import Retry
from agent_runtime.task import Task

__all__ = ["Agent", "Offer", "Retry", "Task", "offer"]
