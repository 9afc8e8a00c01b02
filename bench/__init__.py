"""Measures fleetbus against floors and peers, each figure beside its yardstick in one run."""
