"""The pure core: decay, sessions, records, ranking and policy as functions over plain values."""
