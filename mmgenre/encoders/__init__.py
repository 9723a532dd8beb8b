"""Networks that turn one modality into an embedding, learned on the genre task."""
