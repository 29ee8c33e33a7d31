"""Local: what mends Beam's local runner: processes, their ends, memory, what is worked out once."""
