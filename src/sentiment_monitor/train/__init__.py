"""Offline: makes a classifier from labelled text (`monitor retrain`) and measures one (`monitor evaluate`)."""
