"""The known-cost sampler as a package for OptunaHub: what the registry asks for beside the code, and its assembly."""
