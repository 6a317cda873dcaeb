"""From a problem to its result: bound, start, improve, prove."""
