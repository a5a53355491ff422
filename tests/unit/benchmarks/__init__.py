"""Plans compared in the model."""
