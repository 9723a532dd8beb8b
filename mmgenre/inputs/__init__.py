"""Media files to arrays; every failure of an item is an InputError with a code."""
