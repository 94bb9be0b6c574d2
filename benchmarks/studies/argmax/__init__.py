"""Which maximizer finds argmax_a Q(s, a) best, and within which time?"""
