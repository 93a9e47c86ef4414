"""The trained classifier in numpy: probabilities, calibration, metrics, the taxonomy of labels."""
