"""Records to an address on the web: any program, or a service that shows them on a phone."""
