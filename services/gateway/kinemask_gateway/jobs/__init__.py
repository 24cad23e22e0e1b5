"""Long work on stored videos: a queue, workers, and bodies that go on where another stopped."""
