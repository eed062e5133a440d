"""The settings tree: what can be set, each with one default, and how it is read."""
