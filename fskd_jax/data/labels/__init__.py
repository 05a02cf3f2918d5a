"""Labels of annotation tools, converted to and from `schema.Labels`."""
