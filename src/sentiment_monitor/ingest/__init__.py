"""Kafka in, records out: decode, consume, publish, and the embedded broker."""
