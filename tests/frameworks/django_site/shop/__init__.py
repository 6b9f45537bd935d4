"""The application with a field of every type. Its tables are made by Django's own migrations."""
