"""``fleetbus edge``: agents for small devices, made ready to be copied there."""
