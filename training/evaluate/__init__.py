"""Evaluate: what a model is worth: held-out losses, generation, an export for transformers."""
