"""The handler of ANALYZE_COMMENTS."""
