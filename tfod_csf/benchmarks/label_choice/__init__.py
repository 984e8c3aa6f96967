"""Whether images that suggest_labels names teach a network more than images chosen at random."""
