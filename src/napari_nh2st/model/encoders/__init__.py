"""Image encoders: tiles to feature maps."""
