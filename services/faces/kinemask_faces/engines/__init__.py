"""The models that find, align and embed faces, behind one small interface (`base`)."""
