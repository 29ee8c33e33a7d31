"""Run: which stages are whole; sweep, do the others in order, show how far they are."""
