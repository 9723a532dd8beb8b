"""The way of the data: inputs -> encoders -> embeddings -> joint space -> fusion -> metrics."""
