"""Look: what people look at: batches as the model gets them, samples, plans, the ending."""
