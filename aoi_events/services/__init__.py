"""Workers: they interpret what the domain decides, in batches, and choose nothing themselves."""
