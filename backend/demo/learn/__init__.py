"""``/demo/learn``: the learning loop before one's eyes, with simulated shoppers, the real API and the real night."""
