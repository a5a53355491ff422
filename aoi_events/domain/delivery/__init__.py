"""The life of one delivery: states, attempts, deadlines, evidence and costs."""
