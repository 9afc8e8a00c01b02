"""What 'fleetbus doctor' looks at."""
