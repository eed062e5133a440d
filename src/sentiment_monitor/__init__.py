"""Watches financial news, scores its sentiment and alerts when bad news spikes."""

__version__ = "0.1.0"
