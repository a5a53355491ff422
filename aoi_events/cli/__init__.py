"""The command line: ``aoi``."""
