"""Fit: what a run is opened with, its steps, and what it can go on from."""
