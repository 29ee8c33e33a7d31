"""filter_images: what the pixels decide, and what is left of the documents."""
