"""The gateway's side towards the workers: its queue, requests to them and outcomes."""
