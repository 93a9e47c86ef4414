"""Pure computation without Spark: image decoding, neural networks, moments, PCA, classifier."""
