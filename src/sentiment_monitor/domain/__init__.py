"""The values that travel between rooms: news, series, alerts. Frozen, no I/O, no clock."""
