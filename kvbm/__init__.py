"""KVBM: the memory in which an LLM engine keeps attention keys and values, cut into blocks."""
