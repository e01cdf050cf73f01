"""The handler of EXPORT_COMMENTS."""
