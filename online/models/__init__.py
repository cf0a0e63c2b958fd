"""Learners that absorb one observation at a time."""
