"""Feature vectors to principal components: mergeable moments, their eigenvectors, and the Spark stages."""
