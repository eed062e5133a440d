"""Detection: what is usual, what is a spike, when a spike is an alert, and how to say so. Pure functions of numbers."""
