"""Pure computation, without Spark: decoding, networks, moments, PCA, the classifier."""
