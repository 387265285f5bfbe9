"""Networks: the paper's, timm's and your own."""
