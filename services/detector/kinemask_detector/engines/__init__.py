"""Detection engines: one module per model family behind the interface in `base`."""
