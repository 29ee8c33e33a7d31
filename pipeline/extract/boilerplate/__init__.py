"""Boilerplate: which blocks of a page are its content."""
