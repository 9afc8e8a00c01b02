"""Devices that speak only MQTT, as agents like any other. See ``bridge.Things``."""
