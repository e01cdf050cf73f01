"""What texts say: pure functions on plain values. No I/O, no database, no state but caches."""
