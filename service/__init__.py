"""The HTTP service: admit → decode → queue → batch → device → answer."""
