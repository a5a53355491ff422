"""The pytest plug-in: fixtures for everything that talks to AOI events."""
