"""Launchers: ``python -m workers.NAME`` runs one worker; start as many copies as you like."""
