"""What every Kinemask service shares: server, settings, health, errors, metrics, batching."""
