"""Labels that a model contradicts: found, ranked, shown."""
