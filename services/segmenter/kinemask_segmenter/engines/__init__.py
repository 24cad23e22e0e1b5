"""One module or package per model family, behind `base.py`."""
