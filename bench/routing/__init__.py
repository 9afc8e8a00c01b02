"""The mixed fleet of the routing scenario: its agents, its tasks, its rivals and its ideal."""
