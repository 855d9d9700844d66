"""Who may ask what, how often and from where, and a record of what was changed."""
