"""Models whose weights are files: which are here, what others lack, which are in memory."""
