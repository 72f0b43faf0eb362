"""Generators of big meshes, a load generator that behaves like many Envoys, and the benchmarks."""
