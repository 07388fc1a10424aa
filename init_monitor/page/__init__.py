"""The page a person looks at: its numbers as matrices, the binary form they travel in, and the file that holds both.

The modules of the page itself are JavaScript, in ``static`` beside this: TensorBoard serves them one by one, the
HTML report holds them in one file.
"""
