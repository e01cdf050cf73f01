"""The handlers of the job kinds."""
