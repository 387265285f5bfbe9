"""Images to variants: decode once, then every size and filter from the same pixels."""
