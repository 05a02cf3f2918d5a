"""Folders and files in buckets, gs:// and s3://: copies, and workdirs sent back."""
