"""Schemas of all messages and records at each released version: what must stay readable."""
