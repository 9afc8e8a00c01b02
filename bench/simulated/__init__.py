"""A fleet of many agents in few processes, for measuring what does not run in them."""
