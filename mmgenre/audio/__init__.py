"""Audio: decoding, constant-Q transform, encoders."""
