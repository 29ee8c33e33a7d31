"""Media: image bytes in, what is known of the picture out; in processes of their own."""
