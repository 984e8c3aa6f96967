"""Which scores make a detection a cell and a cell known: curves against the score, recommendations."""
