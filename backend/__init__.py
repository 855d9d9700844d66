"""Morelike: product search by words, picture or product that learns from its shoppers."""
