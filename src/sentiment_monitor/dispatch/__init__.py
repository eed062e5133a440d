"""Who is told what, and when: pure decisions over frozen values, each with its reason."""
