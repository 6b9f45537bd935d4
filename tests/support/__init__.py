"""What tests share: servers, databases, breakable links, sample tables."""
