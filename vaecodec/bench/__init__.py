"""The rate-distortion benchmark: codecs, metrics, and the run over a folder of images."""
