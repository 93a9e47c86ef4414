"""Stages for pyspark.ml pipelines: ImageFeaturizer, PCA and PCAModel; and `read_images` for their input."""
