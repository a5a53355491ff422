"""The model beside the real thing."""
