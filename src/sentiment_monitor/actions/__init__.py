"""What people change: each change is one transaction with its audit row. Command line and API call the same."""
