"""Images to variants: decode once, then every size and filter from the same pixels."""

MAX_PIXELS = 100_000_000
"""The most pixels of an image that a build decodes by default. The largest image of ImageNet has 27
million. Decoding takes up to 28 bytes of memory for each: 6 for a JPEG, 14 for a PNG."""
