"""Convolutions over patches as matrix products."""
