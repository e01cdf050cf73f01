"""All SQL of the application, one file per noun. Functions take a connection first and never commit."""
