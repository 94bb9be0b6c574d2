"""Fit critics to the six-joint arm and bracket their maxima: remakes the data that comes with pgjax."""
