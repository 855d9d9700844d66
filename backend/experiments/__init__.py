"""Who sees what: layers, buckets, experiments and the assignment of units to their arms."""
