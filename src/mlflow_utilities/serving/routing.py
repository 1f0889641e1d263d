"""Which model answers a key: pure, in memory, without waiting."""
