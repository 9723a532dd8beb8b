"""Published datasets' layouts, and the built-in catalogue, as manifests."""
