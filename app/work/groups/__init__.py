"""The handlers of REFRESH_GROUPS and REMOVE_GROUPS."""
