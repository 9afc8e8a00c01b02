"""Routes tasks and calls by load. Run one or many; none keeps anything."""

from coordinator.service import Coordinator
from coordinator.settings import CoordinatorSettings

__all__ = ["Coordinator", "CoordinatorSettings"]
