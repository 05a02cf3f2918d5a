"""Photographs of animals cut out of their backgrounds, with keypoints marked by us."""
