"""Adapters measured: what heads on a frozen encoder bring, and what they cost, on held-out products."""
