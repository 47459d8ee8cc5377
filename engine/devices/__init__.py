"""What a model would cost on a device, before anything is compressed."""
