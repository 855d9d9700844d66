"""The setup page: what is missing before a shop of one's own is searched, and what went wrong since."""
