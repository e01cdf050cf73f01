"""The work of ANALYZE_COMMENTS."""
