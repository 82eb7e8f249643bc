"""Pictures of plans, joint spaces, confusion matrices, recall and spectra, drawn with matplotlib.

Each function takes data and writes one file, in the format given by the ending of its name (see
`style.PICTURES`), creating its folder if needed. All of them raise the errors of
`style.check_picture`, and the same data give the same bytes.
"""
