"""Configuration in a Git repository: read, checked, brought to the bus. A library."""
