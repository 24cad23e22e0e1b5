"""Tracks as they are stored: found once, rendered and exported as often as one likes."""
