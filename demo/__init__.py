"""`make demo`: a clip made on the spot, its faces blurred by the real services, and checked."""
