"""The formats that cross the wire: requests, answers, events, envelopes, the device protocol."""
