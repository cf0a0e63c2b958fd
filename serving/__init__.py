"""The HTTP side: routes, deadlines, the worker's threads and what it keeps while the log is away."""
