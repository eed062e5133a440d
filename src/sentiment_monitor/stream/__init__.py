"""The hot loop: records in, stories, scores and positions stored, in one transaction a batch."""
