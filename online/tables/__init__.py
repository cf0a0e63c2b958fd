"""Table definitions of the warehouse, one file each."""
