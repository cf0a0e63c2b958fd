"""Adapters: each opens one product behind a port of `online.ports`."""
