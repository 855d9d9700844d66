"""Relevance feedback as arithmetic: from what was shown and judged to the next query vectors."""
