"""Networks: the paper's, timm's and your own, with their sizes and costs."""
