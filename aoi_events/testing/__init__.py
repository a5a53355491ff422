"""What this project's own tests use, shipped for yours."""
