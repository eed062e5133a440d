"""SQL: schema, the batch transaction, alert state, and what people read."""
