"""Do images look like those that a model was trained on?"""
