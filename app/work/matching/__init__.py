"""The handler of MATCH_KEYWORDS, and the search for keywords in texts."""
