"""Code that the channels over HTTP share: one careful client, and the meaning of its answers."""
