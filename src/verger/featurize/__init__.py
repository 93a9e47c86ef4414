"""Photos to feature vectors: which networks there are, their inference graphs, and the Spark stage."""
