"""The fleet's configuration: layers, what they make of an agent, and where each value is from."""

from bus.config.layers import Effective, Layers, Stored
from bus.config.merge import merged
from bus.config.provenance import Setting, explain

__all__ = ["Effective", "Layers", "Setting", "Stored", "explain", "merged"]
