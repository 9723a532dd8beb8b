"""Covers: decoding, networks, encoders."""
