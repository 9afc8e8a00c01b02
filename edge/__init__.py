"""Agents for small devices: the standard library only, on CPython and MicroPython."""

from edge.agent import Agent
from edge.task import Retry, Task

__all__ = ["Agent", "Retry", "Task"]
