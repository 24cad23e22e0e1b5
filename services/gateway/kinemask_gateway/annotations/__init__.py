"""Interactive sessions on stored videos: prompt, look, correct, propagate."""
