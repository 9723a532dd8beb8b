"""Metrics, and the schema of results."""
