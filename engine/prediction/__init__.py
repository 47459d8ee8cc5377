"""The predicted increase of the loss, calibrated on measured maps; free of torch."""
