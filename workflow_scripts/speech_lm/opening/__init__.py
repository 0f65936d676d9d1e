"""From a config entry or a folder to a model that answers, checked."""
