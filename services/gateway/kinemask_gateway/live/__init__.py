"""Live streams: detector, tracker, segmenter and effects over one stream of frames."""
