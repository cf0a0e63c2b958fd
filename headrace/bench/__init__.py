"""The benches: each measures one promise on a system of its own and returns plain figures with their method."""
