"""Views folded anew from the recorded past: from a snapshot, the archive and the log, beside the living ones."""
