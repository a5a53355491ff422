"""The decisions of the AOI Client: pure, without I/O, clock or tasks."""
