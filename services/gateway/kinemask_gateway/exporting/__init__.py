"""Writes stored tracks in the formats of others."""
