"""What a network is worth on a test set, counted as the field counts it."""
