"""The executable specification of a KV block manager. Never imports `kvbm`."""
