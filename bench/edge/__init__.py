"""Devices with bad links: the real edge agent, many to a process."""
