"""Words: URLs, domains, languages, lists of words and of those who opted out."""
