"""Capture kept whole while the service runs."""
