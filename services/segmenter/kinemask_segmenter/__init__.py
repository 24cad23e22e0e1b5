"""Masks from prompts, carried through a stream of frames."""
