"""The assets stage: everything that is fetched, as folders of verified files."""
