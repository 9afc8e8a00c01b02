"""MicroPython on this machine: in Node.js, and its unix port."""
