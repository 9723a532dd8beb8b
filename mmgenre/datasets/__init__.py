"""Datasets as manifests: readers of the layouts people have, and the built-in catalogue."""
