"""The exchange: what is said to it, the process that holds the keys, and how its answers become reports."""
