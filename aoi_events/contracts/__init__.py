"""What crosses the wire: requests, answers, events, envelopes, the device protocol."""
