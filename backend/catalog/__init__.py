"""Products as sold: sent by a shop, read from feeds, pictured and captioned."""
