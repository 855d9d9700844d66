"""Encoders, index builds and generations: how a product becomes searchable, and under which generation it serves."""
