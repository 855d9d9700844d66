"""The shop's page, the script that puts the search on any page, and the pictures both show."""
