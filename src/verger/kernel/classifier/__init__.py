"""The trained classifier, with numpy only: probabilities, calibration, metrics, taxonomy of labels."""
