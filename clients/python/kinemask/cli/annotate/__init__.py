"""`kinemask annotate`."""
