"""The composition root: command line, settings, supervisor, embedded services, benches."""
