"""``monitor bench``: the same texts and weights through our engines and the ways people use today."""
