"""Training heads on clicks: what is learned from, with which weights and losses, and which of the results is kept."""
