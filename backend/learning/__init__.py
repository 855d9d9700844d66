"""What is trained from a shop: the attentive summarizer."""
