"""What does it cost to act: sample a policy, or search for argmax_a Q(s, a) over R^6?"""
