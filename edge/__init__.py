"""Code for small devices: the standard library only, and nothing of the other packages."""
