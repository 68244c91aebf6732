"""The course: its exercises with the bands of their figures, and the check of what students hand in."""
