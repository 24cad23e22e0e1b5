"""`kinemask track`: a video in, the same video with its objects covered or marked out."""
