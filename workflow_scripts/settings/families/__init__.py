"""The kinds of models that `models` may name, a file each; `settings.models` registers them."""
