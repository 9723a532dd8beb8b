"""Training: loop, targets, optimisation, weights."""
