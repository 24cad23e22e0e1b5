"""Boxes from words or classes."""
