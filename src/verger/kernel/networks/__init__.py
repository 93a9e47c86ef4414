"""CNNs: the catalog, conversion to inference graphs, the devices that run them."""
