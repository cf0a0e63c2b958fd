"""The domain: pure folds, learners, the request pipeline, the ports and their adapters."""
