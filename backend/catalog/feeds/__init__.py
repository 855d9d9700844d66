"""Readers of catalogues in files: one for each format, all giving drafts of products or lines that are wrong."""
