"""Every claim of the textbook chapter "Why learn policies directly?", measured with its conditions."""
