"""The page: its numbers as matrices, their binary form, and the file that holds both.

The modules of the page itself are JavaScript, in ``static`` next to this: TensorBoard serves them one by one, the
HTML report holds them in one file.
"""
