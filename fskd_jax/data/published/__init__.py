"""Published data sets: their facts, the readers of their files, their preparation."""
