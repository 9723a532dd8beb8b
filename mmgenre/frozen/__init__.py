"""Frozen models of others as encoders: named, fetched, checked, cached, and never changed."""
