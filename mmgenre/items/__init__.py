"""What a run is about: items, their labels, their splits."""
