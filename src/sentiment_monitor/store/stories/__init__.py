"""Stories, scores and buckets: what one batch of the hot loop changes, in one transaction."""
