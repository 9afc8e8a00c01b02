"""Measures fleetbus against floors in the same run."""
