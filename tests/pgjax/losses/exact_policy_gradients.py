"""Ground truth for policy gradients: two problems small enough to be solved, and all that follows from them."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np

# The short corridor (Sutton & Barto, example 13.1): states in a row, the goal last, action 1 to the right,
# reversed in the second state; the policy goes right with probability p everywhere. -1 a step.
CORRIDOR_GOAL = 3
CORRIDOR_NEXT = np.asarray([[0, 1], [2, 0], [1, CORRIDOR_GOAL]])  # [state, action]


def corridor_values(p):
    """Solve for the value of each state."""
    step = np.zeros((3, 4))
    for state, (left, right) in enumerate(CORRIDOR_NEXT):
        step[state, left] += 1 - p
        step[state, right] += p
    return np.linalg.solve(np.eye(3) - step[:, :3], -np.ones(3))


def corridor_moments(p, baseline=0.0, max_length=4000):
    """Return E[(1, S, S^2, X, XS, X^2); episode of length L] for each L, shape `[max_length, 6]`.

    S is an episode's sum of scores in the logit and X = sum_t (G_t - b(s_t)) score_t its REINFORCE gradient.
    """
    baseline = np.broadcast_to(baseline, 3)
    move = np.zeros((CORRIDOR_GOAL + 1, 6, 3, 6))  # of the moments in one state to those in the next
    for state, action in itertools.product(range(3), (0, 1)):
        step = (p if action else 1 - p) * _one_step(action - p, 1 + baseline[state])
        move[CORRIDOR_NEXT[state, action], :, state] += step
    alive, end = (part.reshape(-1, 18) for part in (move[:CORRIDOR_GOAL], move[CORRIDOR_GOAL]))
    now, ended = np.eye(18)[0], np.zeros((max_length, 6))
    for length in range(max_length):
        ended[length], now = end @ now, alive @ now
    return ended


def _one_step(e, c):
    """The moments after S <- S + e and X <- X - S - c e, from those before: -1 times all scores so far."""
    return np.asarray(
        [
            [1, 0, 0, 0, 0, 0],
            [e, 1, 0, 0, 0, 0],
            [e**2, 2 * e, 1, 0, 0, 0],
            [-c * e, -1, 0, 1, 0, 0],
            [-c * e**2, -(1 + c) * e, -1, e, 1, 0],
            [(c * e) ** 2, 2 * c * e, 1, -2 * c * e, -2, 1],
        ]
    )


def corridor_gradient(p, baseline=0.0):
    """Return the mean and the variance of one episode's gradient."""
    total = corridor_moments(p, baseline).sum(axis=0)
    return total[3], total[5] - total[3] ** 2


def corridor_optimal_baseline(p):
    """Return the constant baseline of least variance."""
    total = corridor_moments(p).sum(axis=0)
    return total[4] / total[2]


def corridor_gradient_per_step(p):
    """Return the mean of one episode's gradient divided by its length: a common mistake."""
    moments = corridor_moments(p)
    return np.sum(moments[:, 3] / np.arange(1, len(moments) + 1))


def corridor_episodes(rng, p, num_episodes):
    """Run episodes: states, actions and ends `[B, T]`, T the length of the longest."""
    state, records = np.zeros(num_episodes, int), []
    while np.any(state != CORRIDOR_GOAL):
        action = (rng.random(num_episodes) < p).astype(np.int32)
        following = np.where(state == CORRIDOR_GOAL, state, np.append(CORRIDOR_NEXT, [[3, 3]], 0)[state, action])
        records.append((state, action, (following == CORRIDOR_GOAL) & (state != CORRIDOR_GOAL)))
        state = following
    return tuple(np.stack(part, axis=1) for part in zip(*records, strict=True))


@dataclasses.dataclass(frozen=True)
class Enumeration:
    """All episodes of a problem of two states, two actions and three steps; one ends after the second step.

    States, actions, rewards and ends `[8, 3]`; steps after the end are padding with action 0.
    """

    states: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    ended: np.ndarray
    inside: np.ndarray

    def log_probs(self, logits):
        """Log probability of each action, shape `[num episodes, 3]`, for logits `[2]` of action 1."""
        return log_sigmoid_of(logits)[self.states, self.actions]

    def probabilities(self, logits):
        """Probability of each episode."""
        return jnp.exp(jnp.sum(jnp.where(self.inside, self.log_probs(logits), 0), axis=1))

    def entropies(self, logits):
        """Entropy of the policy at each step."""
        log_probs = log_sigmoid_of(logits)
        return -jnp.sum(jnp.exp(log_probs) * log_probs, axis=1)[self.states]

    def objective(self, logits, discount, temperature=0.0):
        """E[sum_t gamma^t (r_t + tau H(s_t))], exactly."""
        rewards = self.rewards + temperature * self.entropies(logits)
        returns = jnp.sum(jnp.where(self.inside, rewards, 0) * discount ** np.arange(3.0)[None], axis=1)
        return jnp.sum(self.probabilities(logits) * returns)


def log_sigmoid_of(logits):
    """Log probabilities `[2 states, 2 actions]`."""
    return jnp.stack([jax.nn.log_sigmoid(-logits), jax.nn.log_sigmoid(logits)], axis=1)


def enumerate_episodes():
    """Build the problem; action 1 in the second state ends the episode."""
    following = np.asarray([[0, 1], [0, -1]])
    reward = np.asarray([[0.3, -1.0], [2.0, 0.7]])
    rows = []
    for actions in itertools.product((0, 1), repeat=3):
        state, row = 0, []
        for action in actions:
            goes_on = state >= 0
            row.append((max(state, 0), action, reward[state, action] if goes_on else 0.0, goes_on))
            state = following[state, action] if goes_on else -1
        states, taken, rewards, inside = (np.asarray(part) for part in zip(*row, strict=True))
        if not np.any(taken[~inside]):
            last = np.flatnonzero(inside)[-1]
            rows.append((states, taken, rewards, np.arange(3) == last, inside))
    return Enumeration(*(np.stack(part) for part in zip(*rows, strict=True)))
