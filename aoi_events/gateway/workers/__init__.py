"""The gateway's messages from and to the workers: its queue, requests and outcomes."""
