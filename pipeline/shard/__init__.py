"""shard: the plan, the tars with their index; report/ has what people look at."""
