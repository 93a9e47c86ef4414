"""Classifiers and networks trained on labelled photos: train, evaluate, predict, augment, fine-tune."""
