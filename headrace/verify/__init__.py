"""Proofs of what the system promises, run on the real thing: each ends with counts that must be zero."""
