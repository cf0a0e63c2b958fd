"""Documents that say how the system is to behave: what kinds there are, and what a worker reads of them. Pure."""
