"""One identity per object over time."""
