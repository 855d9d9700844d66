"""The query path: words, pictures and products in, one page of a served list out."""
