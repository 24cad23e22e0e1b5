"""Stored videos: uploads, facts, frames."""
