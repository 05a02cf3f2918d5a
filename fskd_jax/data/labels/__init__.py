"""Labels of annotation tools; every format is read into `schema.Labels` and back."""
