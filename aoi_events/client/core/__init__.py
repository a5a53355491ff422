"""The decisions of the AOI Client, pure: Input → Transition of the Model → Effects."""
