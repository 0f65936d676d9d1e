"""Answer parsers and scorers: text in, dataclass out. No model, no file, no network.

Start at `registry.score_answer` and `registry.aggregate`; `overall` combines subsets into Overall, GAP and the decline.
"""
