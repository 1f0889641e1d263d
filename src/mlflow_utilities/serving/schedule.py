"""When to poll: pure functions of the interval, of chance and of what the last poll met."""
