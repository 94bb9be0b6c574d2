"""Ways to act on a problem, by a policy or by a search: what they are, what they cost, what they lose."""
