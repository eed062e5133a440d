"""Delivery: the one JSON shape of an alert and the ways to hand it over."""
