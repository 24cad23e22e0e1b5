"""The one front door: live streams over the services behind it, and those services themselves."""
