"""Index a folder and search it: python examples/search_sounds.py MODEL FOLDER LIBRARY QUERY"""

import sys

from otomatch.library import find_sounds, open_or_create

model, folder, place, query = sys.argv[1:]
library = open_or_create(place, model)
print(library.add(find_sounds(folder)))
for hit in library.search(query, k=5):
    print(f"{hit.distance:.3f}  {hit.start:.1f}-{hit.end:.1f} s  {hit.path}")
