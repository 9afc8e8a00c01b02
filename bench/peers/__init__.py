"""Other people's task systems: their environments, and how each is set up and driven."""
