"""Refinement: a session of lists, each led on from by what a shopper says of the one before."""
