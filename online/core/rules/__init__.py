"""Rules of the business over items, users and requests: one expression language, compiled to masks."""
