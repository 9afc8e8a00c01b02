"""A hub and a site whose link is cut: the servers, the load, and what became of it."""
