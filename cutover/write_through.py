"""One transaction on the primary."""
