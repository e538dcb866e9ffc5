"""Predict gene expression from H&E whole-slide images with NH2ST."""
