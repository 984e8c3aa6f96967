"""The data page: what is in a set of records, for looking at before training."""
