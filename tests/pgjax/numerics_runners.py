"""How each operation of data/numerics_cases.json runs through pgjax: `RUNNERS` holds one function for each.

A runner takes a case's inputs and returns what the case calls `expected`: a number, a list, a shape, or a record.
"""

import contextlib
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from pgjax import distributions
from pgjax.losses import ppo_loss
from tests.pgjax.distributions.families import OPTIMIZED, new_key


def array(value, dtype="float32"):
    """Return an input as an array of at least one dimension; "inf" becomes a number."""
    return jnp.asarray(np.atleast_1d(np.array(value, np.float64)), dtype)


# Builders: the inputs of a case -> a distribution.


def gaussian(family, inputs, suffix=""):
    """Build DiagonalNormal or TanhNormal; `mean1` goes before `mean` when the suffix is "1"."""
    dtype = inputs.get("dtype", "float32")

    def find(name, default=None):
        return inputs.get(name + suffix, inputs.get(name, default))

    if "mean_shape" in inputs:
        mean = jnp.zeros(inputs["mean_shape"], dtype)
        return family(mean, jnp.zeros(inputs.get("std_shape", mean.shape), dtype))
    log_std = find("log_std", 0.0) if find("std") is None else np.log(find("std"))
    bounds = {name: array(inputs[name], dtype) for name in ("low", "high") if name in inputs}
    return family(array(find("mean", 0.0), dtype), array(log_std, dtype), **bounds)


def legal(inputs):
    """Return the case's mask, None where it has none."""
    return jnp.array(inputs["mask"], bool) if "mask" in inputs else None


def categorical(inputs, logits="logits"):
    """Build a Categorical, masked when the case has a mask."""
    return distributions.Categorical(array(inputs[logits], inputs.get("dtype", "float32")), legal(inputs))


def replace_logits(inputs, name="logits"):
    """Return the function from logits to the case's distribution, and the logits."""
    return (lambda logits: distributions.Categorical(logits, legal(inputs))), array(inputs[name])


def vmapped(inputs):
    """Build a unit DiagonalNormal under vmap."""
    mean = jnp.zeros(inputs["mean_shape"])
    return jax.vmap(distributions.DiagonalNormal)(mean, jnp.zeros_like(mean))


# Runners: the inputs of a case -> what the case expects.


def gaussian_log_prob(family, inputs):
    """Return log_prob of the case's action."""
    dtype = inputs.get("dtype", "float32")
    return gaussian(family, inputs).log_prob(array(inputs["action"], dtype))


def gaussian_kl(family, inputs):
    """Return KL between the case's first and second distribution."""
    return gaussian(family, inputs, "1").kl_divergence(gaussian(family, inputs, "2"))


def tanh_log_prob(inputs):
    """Return log_prob, or on the bound whether it is a number."""
    value = gaussian_log_prob(distributions.TanhNormal, inputs)
    return {"value_not_nan": not jnp.isnan(value)} if abs(inputs["action"]) == 1.0 else value


def tanh_pre_action_log_prob(inputs):
    """Return the log_prob that sample_and_log_prob gives, moved from its draw to the mean.

    The draw is u = mean + std * noise. The same key at mean 0, where tanh is invertible, shows the
    noise; beyond |u| = 15 the log Jacobian is 2 log 2 - 2|u| to float32, hence the two corrections.
    """
    assert inputs["mean"] == inputs["pre_action"]
    assert abs(inputs["mean"]) > 15
    centered = gaussian(distributions.TanhNormal, inputs | {"mean": 0.0}).sample(seed=new_key())
    noise = math.atanh(float(centered[0])) / inputs["std"]
    _, log_prob = gaussian(distributions.TanhNormal, inputs).sample_and_log_prob(seed=new_key())
    shift = math.copysign(1.0, inputs["mean"]) * inputs["std"] * noise
    return float(log_prob) + 0.5 * noise**2 - 2 * shift


def tanh_round_trip(inputs):
    """Count NaN in log_prob(sample()) and in sample_and_log_prob."""
    pi = gaussian(distributions.TanhNormal, inputs)
    action, fused = pi.sample_and_log_prob(seed=new_key(), sample_shape=inputs["n"])
    return {"nan": int(jnp.isnan(pi.log_prob(action)).sum() + jnp.isnan(fused).sum())}


def tanh_fused_nonfinite(inputs):
    """Count non-finite log_probs from sample_and_log_prob."""
    pi = gaussian(distributions.TanhNormal, inputs)
    _, log_prob = pi.sample_and_log_prob(seed=new_key(), sample_shape=inputs["n"])
    return {"nonfinite": int((~jnp.isfinite(log_prob)).sum())}


def tanh_log_det(inputs):
    """Return log(1 - tanh(u)^2) as minus the log_prob of a Normal whose own density at u is 1."""
    u = array(inputs["pre_action"])
    pi = distributions.TanhNormal(u, jnp.full_like(u, -0.5 * math.log(2 * math.pi)))
    return -pi.log_prob(jnp.tanh(u))


def tanh_log_det_gradient(inputs):
    """Return d/du log(1 - tanh(u)^2) as minus the gradient of the fused log_prob in the mean."""

    def fused_log_prob(u):
        pi = distributions.TanhNormal(u[None], jnp.full((1,), -20.0))
        return pi.sample_and_log_prob(seed=new_key())[1]

    return [-jax.grad(fused_log_prob)(u) for u in array(inputs["pre_action"])]


def tanh_outside(inputs):
    """Count samples outside the box."""
    action = gaussian(distributions.TanhNormal, inputs).sample(seed=new_key(), sample_shape=1000)
    low, high = array(inputs["low"])[None], array(inputs["high"])[None]
    return {"outside": int(((action < low) | (action > high)).sum())}


def zero_batch_shapes(inputs):
    """Return the shapes of log_prob, sample and entropy."""
    pi = gaussian(distributions.DiagonalNormal, inputs)
    log_prob = pi.log_prob(jnp.zeros(inputs["mean_shape"]))
    return [list(x.shape) for x in (log_prob, pi.sample(seed=new_key()), pi.entropy())]


def diagonal_log_prob_shape(inputs):
    """Return the shape of log_prob, or nothing when the action is refused."""
    try:
        return list(
            gaussian(distributions.DiagonalNormal, inputs).log_prob(jnp.zeros(inputs["action_shape"])).shape
        )
    except ValueError:
        return None


def normal_log_prob(inputs):
    """Return log_prob; for a case about shapes, those of log_prob and the event it sums."""
    if "mean_shape" not in inputs:
        return gaussian_log_prob(distributions.DiagonalNormal, inputs)
    pi = gaussian(distributions.DiagonalNormal, inputs)
    return list(pi.log_prob(jnp.zeros(inputs["mean_shape"])).shape + pi.event_shape)


def normal_sample(inputs):
    """Return the shape of three samples from a typed key, or the dtype of one."""
    pi = gaussian(distributions.DiagonalNormal, inputs)
    if "dtype" in inputs:
        return pi.sample(seed=new_key()).dtype.name
    return list(pi.sample(seed=new_key(), sample_shape=3)[:, 0].shape)


def jit_returned(inputs):
    """Return entropy and sample shape of a distribution that jit returned."""
    mean = jnp.zeros(inputs["mean_shape"])
    pi = jax.jit(distributions.DiagonalNormal)(mean, jnp.zeros_like(mean))
    return [pi.entropy(), list(pi.sample(seed=new_key()).shape)]


def categorical_log_prob(inputs):
    """Return log_prob of the case's action, or of every action where it names none."""
    if isinstance(inputs["logits"], str):  # "3*N(0,1) (512,64) bfloat16, key 0"
        logits = 3 * jax.random.normal(new_key(), (512, 64), jnp.bfloat16)
        pi = distributions.Categorical(logits)
        log_probs = jax.vmap(pi.log_prob)(jnp.broadcast_to(jnp.arange(64)[:, None], (64, 512)))
        return np.max(np.abs(np.exp(np.float64(log_probs)).sum(0) - 1.0))
    pi = categorical(inputs)
    if "action" in inputs:
        return jax.tree.map(lambda action: pi.log_prob(jnp.int32(action)), inputs["action"])
    of_each = [pi.log_prob(jnp.int32(a)) for a in range(len(inputs["logits"]))]
    return of_each if "mask" in inputs else {"lp": of_each, "H": pi.entropy()}


def categorical_all(inputs):
    """Return log_prob of action 0, entropy and a sample."""
    pi = distributions.Categorical(jnp.zeros(inputs["n"])) if "n" in inputs else categorical(inputs)
    return {"lp": pi.log_prob(jnp.int32(0)), "H": pi.entropy(), "s": pi.sample(seed=new_key())}


def categorical_sample(inputs):
    """Return the frequency of action 1, or whether a far tail is ever drawn."""
    if inputs["n"] == 1_000_001:  # "[20.5]+zeros(1e6)"
        return {"tail_reachable": tail_reachable(jnp.zeros(1_000_001).at[0].set(20.5))}
    action = categorical(inputs).sample(seed=new_key(), sample_shape=inputs["n"])
    return np.mean(np.asarray(action) == 1)


@functools.partial(jax.jit, compiler_options=OPTIMIZED)
def tail_reachable(logits):
    """Draw until an action other than 0 comes; 6000 draws miss a mass of .00125 once in 1800."""

    def draw(carry):
        count, _ = carry
        return count + 1, distributions.Categorical(logits).sample(seed=jax.random.fold_in(new_key(), count))

    start = 270, jnp.int32(0)  # the first comes at the 279th draw; one takes 40 ms
    return jax.lax.while_loop(lambda carry: (carry[0] < 6000) & (carry[1] == 0), draw, start)[1] > 0


def masked_all(inputs):
    """Return log_prob, entropy and their gradients; for a case about NaN, whether there is any."""
    build, logits = replace_logits(inputs)
    action = jnp.int32(inputs.get("action", int(np.argmax(inputs["mask"]))))
    log_prob, g = jax.value_and_grad(lambda x: build(x).log_prob(action))(logits)
    entropy, g_entropy = jax.value_and_grad(lambda x: build(x).entropy())(logits)
    if any(inputs["mask"]):
        return {"lp": log_prob, "H": entropy, "g": g, "gH": g_entropy}
    zero_gradient = not np.any(g) and not np.any(g_entropy)
    return {"nan": not np.isfinite([log_prob, entropy]).all(), "grad_nan": not zero_gradient}


def masked_log_prob(inputs):
    """Return log_prob and whether its gradient has NaN, or log_prob of every action."""
    if "action" not in inputs:
        return categorical_log_prob(inputs)
    build, logits = replace_logits(inputs)
    value, gradient = jax.value_and_grad(lambda x: build(x).log_prob(jnp.int32(inputs["action"])))(logits)
    return {"lp": value, "grad_has_nan": bool(jnp.isnan(gradient).any())}


def masked_kl(inputs):
    """Return KL(p || q), under jax_debug_nans where the case asks for it."""
    strict = jax.debug_nans(True) if inputs.get("jax_debug_nans") else contextlib.nullcontext()
    with strict:
        return categorical(inputs, "logits_p").kl_divergence(categorical(inputs, "logits_q"))


def masked_kl_gradients(inputs):
    """Return the gradients of KL(p || q) in both logits."""
    build, p = replace_logits(inputs, "logits_p")
    _, q = replace_logits(inputs, "logits_q")
    gp, gq = jax.grad(lambda p, q: build(p).kl_divergence(build(q)), argnums=(0, 1))(p, q)
    return {"gp": gp, "gq": gq}


def entropy_gradient_in_probs(inputs):
    """Return the gradient of entropy in probabilities, with logit -inf where they are 0."""

    def entropy(probs):
        possible = probs > 0
        return distributions.Categorical(
            jnp.where(possible, jnp.log(jnp.where(possible, probs, 1.0)), -jnp.inf)
        ).entropy()

    return jax.grad(entropy)(array(inputs["probs"]))


def epsilon_greedy_probs(inputs):
    """Return the probabilities of an epsilon-greedy policy."""
    return distributions.EpsilonGreedy(array(inputs["q"]), inputs["epsilon"], legal(inputs)).probs


def equal_factors(inputs):
    """Return how often two uniform factors agree."""
    pi = distributions.MultiCategorical(tuple(jnp.zeros(size) for size in inputs["nvec"]))
    action = np.asarray(pi.sample(seed=new_key(), sample_shape=inputs["n"]))
    return np.mean(action[:, 0] == action[:, 1])


def multivariate_log_prob(inputs):
    """Return log_prob from a covariance or from its Cholesky factor."""
    tril = inputs.get("scale_tril") or np.linalg.cholesky(np.array(inputs["cov"]))
    action = array(inputs["action"])
    return distributions.MultivariateNormal(jnp.zeros_like(action), array(tril)).log_prob(action)


def clipped_surrogate(inputs):
    """Return PPO's loss of one step and its gradient in the log ratio."""

    def loss(log_ratio):
        return ppo_loss(log_ratio, jnp.zeros(1), array(inputs["adv"]), clip_range=inputs["clip"])

    value, gradient = jax.value_and_grad(loss)(array(inputs["log_ratio"]))
    return {"loss": value, "grad": gradient[0]}


RUNNERS = {
    "categorical": categorical_all,
    "categorical.log_prob": categorical_log_prob,
    "categorical.sample": categorical_sample,
    "diag_gaussian.log_prob": diagonal_log_prob_shape,
    "epsilon_greedy.probs": epsilon_greedy_probs,
    "epsilon_greedy.probs(mask=)": epsilon_greedy_probs,
    "grad categorical.entropy(probs=)": entropy_gradient_in_probs,
    "grad masked_categorical.kl": masked_kl_gradients,
    "grad tanh_log_det": tanh_log_det_gradient,
    "jit(make_dist)": jit_returned,
    "masked_categorical": masked_all,
    "masked_categorical.entropy": lambda inputs: categorical(inputs).entropy(),
    "masked_categorical.kl": masked_kl,
    "masked_categorical.log_prob": masked_log_prob,
    "multi_categorical.sample": equal_factors,
    "mvn_full.log_prob": multivariate_log_prob,
    "mvn_tril.log_prob": multivariate_log_prob,
    "normal.entropy(log_std=)": lambda inputs: gaussian(distributions.DiagonalNormal, inputs).entropy(),
    "normal.kl": lambda inputs: gaussian_kl(distributions.DiagonalNormal, inputs),
    "normal.kl(log_std=)": lambda inputs: gaussian_kl(distributions.DiagonalNormal, inputs),
    "normal.log_prob": normal_log_prob,
    "normal.log_prob(log_std=)": lambda inputs: gaussian_log_prob(distributions.DiagonalNormal, inputs),
    "normal.sample": normal_sample,
    "ppo_clip_loss": clipped_surrogate,
    "shapes": zero_batch_shapes,
    "softmax.probs(temperature=)": lambda x: distributions.Softmax(array(x["logits"]), x["temperature"]).probs,
    "tanh_log_det": tanh_log_det,
    "tanh_normal": tanh_round_trip,
    "tanh_normal.deterministic_action": lambda inputs: gaussian(distributions.TanhNormal, inputs).mode()[0],
    "tanh_normal.kl": lambda inputs: gaussian_kl(distributions.TanhNormal, inputs),
    "tanh_normal.kl(low,high)": lambda inputs: gaussian_kl(distributions.TanhNormal, inputs),
    "tanh_normal.log_prob": tanh_log_prob,
    "tanh_normal.log_prob(low,high)": lambda inputs: gaussian_log_prob(distributions.TanhNormal, inputs),
    "tanh_normal.log_prob(pre_action=)": tanh_pre_action_log_prob,
    "tanh_normal.sample(low,high)": tanh_outside,
    "tanh_normal.sample_and_log_prob": tanh_fused_nonfinite,
    "vmap(make_dist).entropy": lambda inputs: vmapped(inputs).entropy(),
    "vmap(make_dist).loc.shape": lambda inputs: list(vmapped(inputs).loc.shape),
    "vmap(make_dist).sample": lambda inputs: list(vmapped(inputs).sample(seed=new_key()).shape),
}
