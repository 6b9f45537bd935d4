"""The application's side of each: run by the interpreter of its own environment."""
