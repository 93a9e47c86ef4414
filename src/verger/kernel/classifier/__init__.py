"""The trained classifier, in numpy: probabilities, calibration, metrics, taxonomy of labels."""
