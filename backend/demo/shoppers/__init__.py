"""Simulated shoppers of the demo shop: planted wishes and tastes, real searches and events over HTTP."""
