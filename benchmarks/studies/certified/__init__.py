"""How long does a proof take: branch and bound on fitted critics, over boxes of several sizes."""
