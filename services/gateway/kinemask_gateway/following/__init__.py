"""From words to stored tracks: the live pipeline over a stored video, and the passes after it."""
