"""What one viewer holds: slides, predictions and what is shown of them."""
