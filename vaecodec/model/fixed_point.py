"""Number formats of the integer prior; docs/format.md and docs/experiments.md say why."""

#: Activations: signed 16-bit, saturating, in units of 2^-9.
ACTIVATION_BITS = 9
ACTIVATION_MAX = 2**15 - 1
#: Weights: signed 16-bit, one power-of-two unit per layer, never finer than this.
WEIGHT_MAX = 2**15 - 1
WEIGHT_MAX_BITS = 20
#: Means and reconstructed latents: units of 1/64 quantisation step.
STEP_BITS = 6
STEP_MAX = 2**20 - 1
#: Gain tables: units of 2^-16 in the integer product.
GAIN_BITS = 16
GAIN_MAX = 2**30
#: Scale indices leave the network divided by this, so that its outputs stay of order one.
INDEX_GAIN = 8
