"""Statistics of experiments: sample ratios, ratio metrics by unit, looks, any-time intervals, interleaving. Pure."""
