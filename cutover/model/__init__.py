"""Pure vocabulary, shared by every folder."""
