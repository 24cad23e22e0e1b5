"""`kinemask videos` and `kinemask jobs`."""
