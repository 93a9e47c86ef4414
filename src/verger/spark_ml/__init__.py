"""pyspark.ml stages: ImageFeaturizer, PCA and PCAModel, and images as DataFrames."""
