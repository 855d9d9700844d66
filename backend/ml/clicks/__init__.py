"""Clicks: lists shown with known odds, and what can be learned from what was done with them."""
