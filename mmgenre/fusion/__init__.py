"""Late fusion: joined rows, joint space, heads, and the tagger."""
