"""The mistakes of a model as people see them: TIDE's error types, and a page of pictures of them."""
