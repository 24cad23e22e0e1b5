"""Models that describe pictures, behind one interface."""
