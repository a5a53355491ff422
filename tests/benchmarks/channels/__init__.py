"""What channel plans are worth: the product's own decisions in a modelled world."""
