"""The work of COLLECT_COMMENTS."""
