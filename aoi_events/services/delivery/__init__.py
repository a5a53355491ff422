"""Shared by the workers: plans become first steps, backlogs are bounded and released."""
