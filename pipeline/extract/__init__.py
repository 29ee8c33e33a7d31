"""extract: one page of HTML in, its main content as text and image nodes in reading order out."""
