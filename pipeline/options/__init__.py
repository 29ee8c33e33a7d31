"""Options: what the user asked for, checked at once, before hours of work."""
