"""The demo: a fleet of processes works through real text while one of them is killed."""
