"""AOI Clients: registration, applications and tokens, channels and proofs of addresses."""
