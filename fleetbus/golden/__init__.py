"""``fleetbus golden``: the same questions to every instance, to see which one has drifted."""
