"""Client actions, one file per subject; called by GraphQL and the command line."""
