"""Models that are part of this package, a folder each, and how they are found by name."""
