"""Every dynamics with settings, for the tests of games."""

from pgjax import games

DYNAMICS = {
    "softmax policy gradient": lambda: games.softmax_policy_gradient(learning_rate=0.3),
    "softmax policy gradient, entropy": lambda: games.softmax_policy_gradient(learning_rate=0.3, temperature=0.1),
    "hedge": lambda: games.hedge(learning_rate=0.2),
    "hedge, entropy": lambda: games.hedge(learning_rate=0.2, temperature=0.1),
    "optimistic hedge": lambda: games.optimistic_hedge(learning_rate=0.2),
    "magnetic mirror descent": lambda: games.magnetic_mirror_descent(learning_rate=0.2, temperature=0.1),
    "moving magnet": lambda: games.moving_magnet_descent(learning_rate=0.2, temperature=0.2, magnet_rate=0.1),
    "fictitious play": games.fictitious_play,
}
