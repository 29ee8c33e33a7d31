"""What lies at rest: the only thing that the pipeline and the trainer share."""
