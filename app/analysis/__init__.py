"""Text analysis: pure functions on plain values. No I/O, no database, no state except caches."""
