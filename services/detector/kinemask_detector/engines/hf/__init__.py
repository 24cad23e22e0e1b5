"""Detectors that run on Hugging Face transformers."""
