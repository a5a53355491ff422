"""Shared by the channels: offers, requests, results, breakers and HTTP."""
