"""What every scenario measures with: load, latency, sessions, processes."""
