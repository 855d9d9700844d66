"""What the night learns from, read out of PostgreSQL into columns on disk."""
