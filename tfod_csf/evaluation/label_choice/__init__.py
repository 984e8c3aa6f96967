"""Which unlabeled images are worth labeling next: measured, ranked, shown."""
