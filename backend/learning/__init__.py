"""What is trained from a shop: the attentive summarizer, adapters, and every night what shoppers did."""
