"""`kinemask faces`: people in galleries, and pictures of them."""
