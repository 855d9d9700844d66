"""What shop platforms say and how: one file for each, behind the contract of ``platform``."""
