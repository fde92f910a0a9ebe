"""Import of what yunjey's pytorch-tutorial ``image_captioning``, this project's ancestor, wrote: two files of
weights and a pickled vocabulary. Nothing in them is ever run."""
