"""Review of a run's cells in a browser: the same review as with LabelImg, on the same exported folder.

A reviewer's decisions are lines of a journal beside the exported patients. A sign-off writes them as LabelImg would
have saved them, and `review` imports the folder: a revision, with all its checks.
"""
