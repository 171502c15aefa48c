"""What pixels say: pure functions on arrays and a grid. Rasters are the only thing read from disk here."""
