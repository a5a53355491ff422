"""The workers: they carry out what the domain decides, in batches, and decide nothing
themselves.
"""
