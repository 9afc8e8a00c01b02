"""From a commit in a repository to the agents of a fleet, and who of them drifts."""
