"""Generated stubs of the API. Do not edit; see protos/generate.py."""
