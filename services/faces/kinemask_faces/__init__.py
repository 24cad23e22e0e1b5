"""Whose face it is: faces found, embedded and looked up in galleries."""
