"""All SQL of the application, a file a noun. Functions take a connection first and never commit."""
