"""What rules would have made of stored history, and rules that fit it."""
