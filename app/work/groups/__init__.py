"""The work of REFRESH_GROUPS and REMOVE_GROUPS."""
