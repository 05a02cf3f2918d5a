"""From somebody's labels to their detector: train, adapt, suggest, check."""
