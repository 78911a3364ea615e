"""The library: what `import tutelage` offers, in terms of the folders below."""
