"""Account: facts and places that cross documents, drops, ledgers to manifests, the funnel."""
