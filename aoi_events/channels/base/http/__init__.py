"""What the channels over HTTP share: one careful client, and what its answers mean."""
