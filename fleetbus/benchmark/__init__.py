"""``fleetbus bench``: the command over the package ``bench``."""
