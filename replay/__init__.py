"""The recorded past and the synthetic shop: events to feed, truths to compare with, metrics to report."""
