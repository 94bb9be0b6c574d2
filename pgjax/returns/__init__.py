"""Returns, advantages and weights of the steps of one trajectory `[T]`; `vmap` over a batch of them."""

from pgjax.returns.advantages import gae
from pgjax.returns.multi_step import discounted_returns, lambda_returns, n_step_returns
from pgjax.returns.weights import discount_weights, padding_weights

__all__ = [
    "discount_weights",
    "discounted_returns",
    "gae",
    "lambda_returns",
    "n_step_returns",
    "padding_weights",
]
