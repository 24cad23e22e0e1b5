"""Captioning models that run on Hugging Face transformers."""
