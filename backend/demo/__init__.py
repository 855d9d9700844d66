"""The demo shop: invented products, their drawings and captions, and the encoder trained on them."""
