"""The handler of COLLECT_COMMENTS."""
