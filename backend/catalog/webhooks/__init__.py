"""Webhooks: deliveries are verified, kept and answered at once; what they change is applied behind that."""
