"""Media -> feature store, by processes that may die."""
