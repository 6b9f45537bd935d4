"""Applications that other people's frameworks make: moved to Postgres and back under the framework's own writes."""
