"""What becomes of a run: tables, plots, comparisons."""
