"""Words for pictures."""
