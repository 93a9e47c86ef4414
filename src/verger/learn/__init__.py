"""Learning from labelled photos: train and evaluate classifiers, predict, augment photos, fine-tune networks."""
