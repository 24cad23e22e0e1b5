"""Draws stored tracks on their video and writes it anew, without a call to any model."""
