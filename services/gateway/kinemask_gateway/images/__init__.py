"""One picture, and everything the services behind know about it."""
