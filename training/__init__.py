"""Training runs: what one needs, and the loop."""
