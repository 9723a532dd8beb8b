"""Music genres from audio, words and cover art."""
