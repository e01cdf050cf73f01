"""What clients can do, one file for each subject: called by GraphQL and the command line."""
