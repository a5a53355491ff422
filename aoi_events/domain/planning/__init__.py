"""The plan of a delivery: its steps, and the operator's rules for them."""
