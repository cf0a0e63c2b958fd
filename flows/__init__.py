"""Bytewax dataflows over the ports: sources, sinks and glue; the folds themselves live in `online`."""
