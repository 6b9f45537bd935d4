"""A small Django project: the framework's own applications, and one with a field of every type."""
