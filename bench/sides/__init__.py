"""What is measured: ours, and the floors beside it."""
