"""Quality measured: datasets, protocols, tables and pictures."""
