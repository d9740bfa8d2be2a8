"""Posts of our own writing, with our labels: what the model learns from and, held apart from it, what probes it.

`templates.txt` and `words.txt` are a seeded grammar (`benchmarks.sentiment_posts.grammar`), `written.csv` are posts
written one by one; both train. `probes.csv` never trains: other sentences in other words. Names of firms are invented
and nothing refers to an event, so these texts carry no knowledge of the market.
"""
