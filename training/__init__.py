"""The trainer: tars in, a vision-language model out (see CHANGELOG.md for what is there)."""
