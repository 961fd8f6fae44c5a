"""From a user's picture to an image as the model reads it: files → ink, lines, parts → reading.

In: a file and the `ImageStyle` of the model's data, from `data/`. Out: a `Reading`, an image with its doubts.
"""
