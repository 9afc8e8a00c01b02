"""Faults under load, for the scenario ``failover``."""
