"""Captions that a model writes of pictures: what is due, asking for it within limits, and keeping what was said."""
