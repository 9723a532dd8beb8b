"""What lies on disk: files, locks, provenance, model folders and the feature store."""
