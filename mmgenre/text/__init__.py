"""Texts: decoding, entities, encoders."""
