"""Metrics, and the schema of what is measured."""
