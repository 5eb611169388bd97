"""What make_drawings draws: a sheet with its inks and strokes, and the subjects on it."""
