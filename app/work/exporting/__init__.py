"""The work of EXPORT_COMMENTS."""
