"""filter_text: what the text alone decides, and which images are then needed."""
